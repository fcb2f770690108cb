//! The reference of commands and keys, made from the program itself.

use bottle::args::{Args, Document};
use bottle::schema;
use clap::CommandFactory;
use serde_json::{Map, Value};
use std::fmt::Write;

/// What stands before the table of keys in docs/configuration.md.
pub const BEGIN: &str = "<!-- keys: begin -->\n";
/// What stands after it.
pub const END: &str = "<!-- keys: end -->\n";

/// Returns the page of commands: what `--help` says of each.
pub fn commands() -> String {
    let mut page =
        "# Commands\n\nThis is what `bottle COMMAND --help` says; `bottle man` has it as manual pages.\n"
            .to_owned();
    let mut command = Args::command().term_width(100);
    command.build();
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        let mut sub = sub.clone().term_width(100);
        let help = sub.render_long_help().to_string();
        let _ = write!(page, "\n## {}\n\n```\n{}\n```\n", sub.get_name(), help.trim_end());
    }
    // Lines without trailing space, as an editor would keep them.
    page.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// A key of `bottle.toml`.
#[derive(Debug)]
pub struct Key {
    /// Its name with the tables around it: `guest.volumes[].host`.
    pub name: String,
    kind: String,
    default: Option<String>,
    about: String,
}

/// Returns every key of `bottle.toml`, tables among them, from its schema.
pub fn keys() -> Vec<Key> {
    let root = schema::of(Document::BottleToml);
    let mut keys = Vec::new();
    walk(&root, &root, "", &mut keys);
    keys
}

/// Returns the table of keys, as docs/configuration.md has it.
pub fn table() -> String {
    let mut table = "| key | value | default | what it says |\n| --- | --- | --- | --- |\n".to_owned();
    for Key { name, kind, default, about } in keys() {
        let default = default.map_or_else(String::new, |default| format!("`{default}`"));
        let _ = writeln!(table, "| `{name}` | {kind} | {default} | {about} |");
    }
    table
}

fn walk(root: &Value, schema: &Value, above: &str, keys: &mut Vec<Key>) {
    let Some(properties) = schema["properties"].as_object() else { return };
    for (name, property) in in_order(properties, root) {
        let target = resolve(root, property);
        let name = format!("{above}{name}");
        let about = property["description"].as_str().or(target["description"].as_str()).unwrap_or_default();
        let about = about.split("\n\n").next().unwrap_or_default().replace('|', "\\|");
        let default = match &property["default"] {
            Value::String(text) => Some(format!("{text:?}")),
            value @ (Value::Bool(_) | Value::Number(_)) => Some(value.to_string()),
            _ => None,
        };
        keys.push(Key { name: name.clone(), kind: kind(root, target), default, about });
        walk(root, target, &format!("{name}."), keys);
        walk(root, resolve(root, &target["items"]), &format!("{name}[]."), keys);
        walk(root, entry(root, target), &format!("{name}.NAME."), keys);
    }
}

/// Plain keys before tables, as a file has them.
fn in_order<'s>(properties: &'s Map<String, Value>, root: &Value) -> Vec<(&'s String, &'s Value)> {
    let is_table = |value: &Value| {
        let target = resolve(root, value);
        target["properties"].is_object() || resolve(root, &target["items"])["properties"].is_object()
    };
    let (tables, plain): (Vec<_>, Vec<_>) = properties.iter().partition(|(_, value)| is_table(value));
    plain.into_iter().chain(tables).collect()
}

/// What a table without fixed keys holds.
fn entry<'s>(root: &'s Value, schema: &'s Value) -> &'s Value {
    let named = schema["patternProperties"].as_object().and_then(|patterns| patterns.values().next());
    resolve(root, named.unwrap_or(&schema["additionalProperties"]))
}

fn resolve<'s>(root: &'s Value, schema: &'s Value) -> &'s Value {
    let reference = schema["$ref"].as_str().or(schema["allOf"][0]["$ref"].as_str());
    let path = reference.and_then(|reference| reference.strip_prefix('#'));
    path.and_then(|path| root.pointer(path)).map_or(schema, |target| resolve(root, target))
}

fn kind(root: &Value, schema: &Value) -> String {
    let words =
        |values: Vec<&Value>| values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ");
    if let Some(values) = schema["enum"].as_array() {
        return words(values.iter().collect());
    }
    if let Some(kinds) = schema["oneOf"].as_array() {
        let values = kinds.iter().flat_map(|kind| match kind["enum"].as_array() {
            Some(values) => values.iter().collect(),
            None => vec![&kind["const"]],
        });
        return words(values.collect());
    }
    match schema["type"].as_str() {
        Some("integer") => {
            let least = schema["minimum"].as_u64().unwrap_or(0);
            match schema["maximum"].as_u64().filter(|most| *most != u64::from(u32::MAX)) {
                Some(most) => format!("number, {least} to {most}"),
                None => format!("number, {least} or more"),
            }
        }
        Some("boolean") => "`true` or `false`".to_owned(),
        Some("array") if resolve(root, &schema["items"])["properties"].is_object() => "tables".to_owned(),
        Some("array") => format!("list of {}", kind(root, resolve(root, &schema["items"]))),
        Some("object") => "table".to_owned(),
        _ => "text".to_owned(),
    }
}
