//! What `bottle` writes, held against the schema that it publishes.

use anyhow::{Result, anyhow};
use bottle::args::Document;
use bottle::schema;
use serde_json::Value;

/// Checks that a document has the form that its schema says.
///
/// # Errors
/// Returns where it has another, and the document.
pub fn fits(document: Document, value: &Value) -> Result<()> {
    let validator = jsonschema::validator_for(&schema::of(document))?;
    let differs = |error: jsonschema::ValidationError<'_>| {
        anyhow!("{document:?}: {}: {error}: {value:#}", error.instance_path)
    };
    validator.validate(value).map_err(differs)
}
