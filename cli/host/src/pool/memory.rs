//! How much of this machine's memory is taken.

use std::fs;

/// How much of this machine's memory is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pressure {
    /// A quarter or more is available, or the kernel does not say.
    None,
    /// Less than a quarter is available: no more machines are started ahead.
    Some,
    /// Less than an eighth is available: those that wait are removed.
    High,
}

impl Pressure {
    /// Asks the kernel.
    pub fn now() -> Self {
        fs::read_to_string("/proc/meminfo").ok().and_then(|text| Self::of(&text)).unwrap_or(Self::None)
    }

    fn of(text: &str) -> Option<Self> {
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
        };
        let (available, total) = (field("MemAvailable")?, field("MemTotal")?);
        Some(match available {
            _ if available < total / 8 => Self::High,
            _ if available < total / 4 => Self::Some,
            _ => Self::None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_is_what_is_not_available() {
        let text = |available: u64| {
            format!("MemTotal:        8000000 kB\nMemFree:   5 kB\nMemAvailable:   {available} kB\n")
        };
        for (available, pressure) in [
            (999_999, Pressure::High),
            (1_000_000, Pressure::Some),
            (1_999_999, Pressure::Some),
            (2_000_000, Pressure::None),
        ] {
            assert_eq!(Pressure::of(&text(available)), Some(pressure), "{available}");
        }
        for odd in
            ["", "MemTotal: 5 kB\n", "MemTotal: x kB\nMemAvailable: 5 kB\n", "MemTotal: 8\nMemAvailable: 1\n"]
        {
            assert_eq!(Pressure::of(odd), None, "{odd:?}");
        }
    }
}
