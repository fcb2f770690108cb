//! `bottle plan`: what would start.

use super::context::Context;
use super::stage;
use crate::failure::Outcome;
use crate::preflight::Network;
use crate::resolve::resolve;
use crate::state::Home;
use bottle_core::gvproxy::Dialect;
use bottle_core::slug::Slug;

pub fn plan(context: &Context, slug: Option<Slug>, json: bool) -> Outcome {
    let (slug, config) = context.configured(slug)?;
    let folder = Home::find()?.bottle(&slug);
    // A plan can be looked at where nothing could run.
    let dialect = Network::find().map_or(Dialect::File, |network| network.dialect);
    let plan = resolve(&slug, &config, dialect, &folder)?.plan;
    if json {
        println!("{}", serde_json::to_string_pretty(&plan).map_err(anyhow::Error::from)?);
        return Ok(());
    }
    let rendered = stage::render(&folder, &plan)?;
    println!("bottle    {slug}");
    println!("machine   {}", slug.machine_name());
    println!(
        "network   {} (guest {}, proxy.internal {})",
        plan.subnet,
        plan.subnet.guest(),
        plan.subnet.proxy()
    );
    for (sidecar, port) in plan.doors.iter() {
        println!("door      {sidecar:<10} proxy.internal:{port}");
    }
    for rule in &plan.egress.allow {
        println!("allowed   {rule}");
    }
    for upstream in &plan.upstreams {
        let headers = upstream.headers.iter();
        let keys: Vec<String> =
            headers.map(|(name, secret)| format!("{name} from {}", secret.source)).collect();
        println!("upstream  {} -> {} ({})", upstream.path, upstream.origin, keys.join(", "));
    }
    println!("\n--- {}\n{}", folder.smolfile().display(), rendered.smolfile);
    println!("--- {}\n{}", folder.gvproxy().display(), rendered.gvproxy);
    Ok(())
}
