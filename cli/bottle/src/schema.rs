//! Makes JSON Schemas from the types that read `bottle.toml` and that `--json` prints.

use crate::args::Document;
use crate::config;
use crate::ended::Ended;
use crate::job::result::RunResult;
use crate::lifecycle::observe::Row;
use crate::output::{
    Asked, ChainCheck, Checked, Cleanup, Diff, Event, Inspected, OwnDefaults, Pulled, Pushed, Removed, Stat,
    StoredImage, Suggestions, Top,
};
use crate::pool::shown::Machine;
use bottle_core::plan::Plan;
use bottle_host::audit::Entry;
use bottle_host::control::Status;
use bottle_host::envelope::{self, Envelope};
use bottle_host::notify::Told;
use bottle_host::tools::Diagnosis;
use bottle_host::workspace::trash;
use bottle_verify::report::Judged;
use clap::ValueEnum;
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema};
use serde_json::{Value, json};

/// Returns the schema of a document, as text.
pub fn text(document: Document) -> String {
    let schema = of(document);
    serde_json::to_string_pretty(&schema).unwrap_or_default() + "\n"
}

/// Returns the schema of a document.
pub fn of(document: Document) -> Value {
    let schema = match document {
        Document::BottleToml => config::schema(readable().into_generator()),
        Document::Audit => printed::<Entry>(),
        Document::AuditCheck => printed::<Envelope<ChainCheck>>(),
        Document::Check => printed::<Envelope<Checked<'static>>>(),
        Document::Cleanup => printed::<Envelope<Cleanup>>(),
        Document::Config => printed::<Envelope<OwnDefaults>>(),
        Document::Diff => printed::<Envelope<Diff<'static>>>(),
        Document::Doctor => printed::<Envelope<Diagnosis>>(),
        Document::Ended => printed::<Ended>(),
        Document::Events => printed::<Event<'static>>(),
        Document::GitList => printed::<Envelope<Vec<Pushed<'static>>>>(),
        Document::ImagesLs => printed::<Envelope<Vec<StoredImage>>>(),
        Document::ImagesPull => printed::<Envelope<Pulled>>(),
        Document::ImagesRm | Document::ImagesPrune => printed::<Envelope<Removed>>(),
        Document::Inbox => printed::<Envelope<Vec<Asked<'static>>>>(),
        Document::Inspect => printed::<Envelope<Inspected>>(),
        Document::Ls => printed::<Envelope<Vec<Row>>>(),
        Document::Notice => printed::<Told<'static>>(),
        Document::Plan => printed::<Envelope<Plan>>(),
        Document::PlanDiff => printed::<Envelope<Vec<String>>>(),
        Document::Pool => printed::<Envelope<Vec<Machine>>>(),
        Document::Result => printed::<RunResult>(),
        Document::Stats => printed::<Envelope<Vec<Stat>>>(),
        Document::Suggest => printed::<Envelope<Suggestions>>(),
        Document::Top => printed::<Envelope<Top>>(),
        Document::Status => printed::<Envelope<Status>>(),
        Document::Trash => printed::<Envelope<Vec<trash::Entry>>>(),
        Document::Verify => printed::<Envelope<Judged>>(),
    };
    let mut schema = Value::from(schema);
    if !matches!(
        document,
        Document::BottleToml | Document::Audit | Document::Ended | Document::Events | Document::Result
    ) {
        schema["properties"]["schema"] = json!({
            "const": envelope::schema(&document.name()),
            "description": "The form of this object.",
        });
    }
    if document != Document::BottleToml
        && let Some(about) =
            document.to_possible_value().and_then(|value| value.get_help().map(ToString::to_string))
    {
        schema["title"] = json!(about);
    }
    schema
}

/// Returns settings for Draft 7, which every editor's TOML plugin understands.
fn settings() -> SchemaSettings {
    SchemaSettings::draft07().with_transform(RecursiveTransform(plain))
}

/// Returns a generator for schemas of files that bottle reads.
fn readable() -> SchemaSettings {
    settings().with_transform(RecursiveTransform(without_null)).with(|settings| {
        settings.contract = schemars::generate::Contract::Deserialize;
    })
}

/// Returns the schema of a type that bottle prints.
fn printed<T: JsonSchema>() -> Schema {
    settings().for_serialize().into_generator().into_root_schema_for::<T>()
}

/// Joins sentences that the source breaks into lines, and writes the largest 32-bit number in a way that
/// every validator understands.
fn plain(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else { return };
    if let Some(Value::String(text)) = object.get_mut("description") {
        *text = text.split("\n\n").map(|part| part.replace('\n', " ")).collect::<Vec<_>>().join("\n\n");
    }
    if object.get("format").is_some_and(|format| format == "uint32") {
        object.entry("maximum").or_insert_with(|| json!(u32::MAX));
    }
}

/// Removes `null`, which TOML does not have: an optional key is left out.
fn without_null(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else { return };
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = &types[..] {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(kinds)) = object.get_mut("anyOf") {
        kinds.retain(|kind| kind["type"] != "null");
        if let [only] = &kinds[..]
            && let Some(only) = only.as_object().cloned()
        {
            object.remove("anyOf");
            if only.contains_key("$ref") && !object.is_empty() {
                object.insert("allOf".to_owned(), json!([only]));
            } else {
                object.extend(only);
            }
        }
    }
    if object.get("default").is_some_and(Value::is_null) {
        object.remove("default");
    }
}

/// Returns the name of a document's file in `docs/schema/`.
pub fn file_name(document: Document) -> String {
    let name = match document {
        Document::BottleToml => "bottle".to_owned(),
        other => other.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned()),
    };
    format!("{name}.schema.json")
}
