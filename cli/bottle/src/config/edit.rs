//! Changes a `bottle.toml` as a person would: one line, and everything else as it was.

use bottle_core::egress::HostRule;
use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

/// Adds a host to `[egress] allow`. Returns the text unchanged if it is there already, and nothing if the text
/// has a form that this does not understand.
pub fn allow(text: &str, rule: &HostRule) -> Option<String> {
    let (before, wanted) = (text.parse::<Table>().ok()?, rule.to_string());
    if allowed(&before).is_some_and(|rules| rules.iter().any(|rule| rule.as_str() == Some(&wanted))) {
        return Some(text.to_owned());
    }
    let edited = edited(text, &format!("\"{wanted}\""))?;
    // Whatever the edit did, it counts only if it means exactly this.
    let mut meant = before;
    let egress = meant.entry("egress").or_insert_with(|| Value::Table(Table::new())).as_table_mut()?;
    let rules = egress.entry("allow").or_insert_with(|| Value::Array(Vec::new())).as_array_mut()?;
    rules.push(Value::String(wanted));
    (edited.parse::<Table>().ok()? == meant).then_some(edited)
}

fn allowed(table: &Table) -> Option<&Vec<Value>> {
    table.get("egress")?.get("allow")?.as_array()
}

fn edited(text: &str, item: &str) -> Option<String> {
    let document = DeTable::parse(text).ok()?;
    let Some(egress) = document.get_ref().get("egress") else {
        let line = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        return Some(format!("{text}{line}\n[egress]\nallow = [{item}]\n"));
    };
    let DeValue::Table(table) = egress.get_ref() else { return None };
    let with = |at: usize, more: &str| Some(format!("{}{more}{}", text.get(..at)?, text.get(at..)?));
    match table.get("allow").map(|allow| (allow.span(), allow.get_ref())) {
        Some((span, DeValue::Array(items))) => match items.iter().last() {
            Some(last) => with(last.span().end, &format!(", {item}")),
            None => with(span.start + 1, item),
        },
        Some(_) => None,
        None => {
            // The position of a table is that of its header.
            let header = egress.span();
            text.get(header.clone())?.starts_with('[').then_some(())?;
            let line = text.get(header.end..)?.find('\n').map_or(text.len(), |at| header.end + at);
            with(line, &format!("\nallow = [{item}]"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_changes_and_what_is_not_understood_stays() {
        let rule: HostRule = "new.test".parse().unwrap();
        for (before, after) in [
            ("", "\n[egress]\nallow = [\"new.test\"]\n"),
            ("slug = \"t\" # mine", "slug = \"t\" # mine\n\n[egress]\nallow = [\"new.test\"]\n"),
            ("[egress]\nallow = []\n", "[egress]\nallow = [\"new.test\"]\n"),
            (
                "[egress] # out\nallow = [\n  \"a.test\", # docs\n]\n[supervise]\n",
                "[egress] # out\nallow = [\n  \"a.test\", \"new.test\", # docs\n]\n[supervise]\n",
            ),
            (
                "[egress] # out\ndeny = [\"x.test\"]\n",
                "[egress] # out\nallow = [\"new.test\"]\ndeny = [\"x.test\"]\n",
            ),
            ("egress = { allow = [\"a.test\"] }\n", "egress = { allow = [\"a.test\", \"new.test\"] }\n"),
            ("egress.allow = [\"new.test\"]\n", "egress.allow = [\"new.test\"]\n"),
        ] {
            assert_eq!(allow(before, &rule).as_deref(), Some(after), "{before}");
        }
        for odd in ["egress = 1\n", "egress.deny = []\n", "egress = {}\n", "nonsense"] {
            assert_eq!(allow(odd, &rule), None, "{odd}");
        }
    }
}
