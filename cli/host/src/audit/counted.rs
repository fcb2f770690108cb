//! Counts what a guest causes again and again, instead of logging each event.
//!
//! Otherwise a guest could decide what the log contains: it could request forbidden things until the lines
//! that matter are rotated away. There are three limits, applied in turn, each a token bucket: how many lines
//! one destination gets, how many destinations are told apart, and how many bytes a guest's lines may have
//! altogether. Events over a limit are held and counted, and become one line with `repeated` and `since`.
//! Nothing here reads the clock.

use super::bucket::Bucket;
use super::repeated::{BYTE_EVERY, BYTES, Repeated};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How many destinations of one kind are told apart. The others are counted together.
const DESTINATIONS: usize = 32;
/// How long a destination must be silent before another one may take its place.
const FORGOTTEN: Duration = Duration::from_secs(300);
/// How many events of one kind are described at once.
const LOOKS: u32 = 200;
/// How soon one more is described.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A kind of event: part, event and reason. All three are words that we chose, so there are few kinds.
pub type Kind = (&'static str, &'static str, &'static str);

/// The events that a guest caused recently.
#[derive(Debug)]
pub struct Counted {
    kinds: BTreeMap<Kind, Destinations>,
    bytes: Bucket,
}

#[derive(Debug)]
struct Destinations {
    looks: Bucket,
    known: BTreeMap<String, Repeated>,
    /// All destinations that are not told apart.
    others: Repeated,
}

impl Counted {
    /// Creates an empty count.
    pub fn new(now: Instant) -> Self {
        Self { kinds: BTreeMap::new(), bytes: Bucket::new(BYTES, BYTE_EVERY, now) }
    }

    /// Returns whether an event of this kind is worth describing. If not, count it with [`Counted::see`] and
    /// without a destination.
    pub fn looks(&mut self, kind: Kind, now: Instant) -> bool {
        let looks = &mut self.kind(kind, now).looks;
        let has = looks.has(1, now);
        looks.take(u32::from(has));
        has
    }

    /// Counts one more event without a destination if such an event is being held, and returns whether it
    /// did. The event itself is not examined.
    pub fn again(&mut self, kind: Kind, now: Instant) -> bool {
        let others = &mut self.kind(kind, now).others;
        let Some(held) = &mut others.held else { return false };
        (held.count, others.last) = (held.count + 1, now);
        true
    }

    /// Takes an event, and returns the details of the line to write now, if there is one.
    pub fn see(
        &mut self,
        kind: Kind,
        destination: Option<&str>,
        details: Map<String, Value>,
        now: Instant,
        now_ms: u64,
    ) -> Option<Map<String, Value>> {
        let destinations = self.kind(kind, now);
        let repeated = match destination.and_then(|name| destinations.known(name, now)) {
            Some(repeated) => repeated,
            None => &mut destinations.others,
        };
        repeated.hold(details, now, now_ms);
        // The borrow of one kind must end before the shared bucket is used.
        let mut bytes = std::mem::replace(&mut self.bytes, Bucket::new(0, BYTE_EVERY, now));
        let destinations = self.kind(kind, now);
        let known = destination.and_then(|name| destinations.known.get_mut(name));
        let line = known.unwrap_or(&mut destinations.others).due(&mut bytes, now);
        self.bytes = bytes;
        line
    }

    /// Returns the lines for held events that may be written now.
    pub fn due(&mut self, now: Instant) -> Vec<(Kind, Map<String, Value>)> {
        let bytes = &mut self.bytes;
        let due = self.kinds.iter_mut().flat_map(|(&kind, destinations)| {
            destinations
                .all()
                .filter_map(|repeated| Some((kind, repeated.due(bytes, now)?)))
                .collect::<Vec<_>>()
        });
        due.collect()
    }

    /// Returns the lines for all held events, because there will be no later occasion.
    pub fn rest(&mut self) -> Vec<(Kind, Map<String, Value>)> {
        let rest = self.kinds.iter_mut().flat_map(|(&kind, destinations)| {
            let held = destinations.all().filter_map(|repeated| repeated.held.take());
            held.map(|held| (kind, held.into_details())).collect::<Vec<_>>()
        });
        rest.collect()
    }

    fn kind(&mut self, kind: Kind, now: Instant) -> &mut Destinations {
        self.kinds.entry(kind).or_insert_with(|| Destinations {
            looks: Bucket::new(LOOKS, LOOK_EVERY, now),
            known: BTreeMap::new(),
            others: Repeated::new(now),
        })
    }
}

impl Destinations {
    /// Returns a destination, if there is room to tell it apart.
    fn known(&mut self, name: &str, now: Instant) -> Option<&mut Repeated> {
        if !self.known.contains_key(name) && self.known.len() >= DESTINATIONS {
            let silent = |known: &Repeated| {
                known.held.is_none() && now.saturating_duration_since(known.last) >= FORGOTTEN
            };
            let oldest =
                self.known.iter().filter(|(_, known)| silent(known)).min_by_key(|(_, known)| known.last);
            let oldest = oldest.map(|(name, _)| name.clone())?;
            self.known.remove(&oldest);
        }
        Some(self.known.entry(name.to_owned()).or_insert_with(|| Repeated::new(now)))
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Repeated> {
        self.known.values_mut().chain([&mut self.others])
    }
}

#[cfg(test)]
mod tests {
    use super::super::repeated::{AROUND, LINE_EVERY, LINES};
    use super::*;
    use serde_json::json;

    const KIND: Kind = ("pipelock", "refused", "host");

    fn details(request: &str) -> Map<String, Value> {
        Map::from_iter([("request".to_owned(), json!(request)), ("bytes_up".to_owned(), json!(10))])
    }

    fn number(line: &Map<String, Value>, field: &str) -> u64 {
        line.get(field).and_then(Value::as_u64).unwrap_or(1)
    }

    #[test]
    fn what_repeats_is_one_line_that_says_how_often_and_since_when() {
        let (now, mut counted) = (Instant::now(), Counted::new(Instant::now()));
        let lines: Vec<_> = (0..5000)
            .filter_map(|at| counted.see(KIND, Some("a.test"), details(&at.to_string()), now, at))
            .collect();
        assert_eq!(lines.len(), LINES as usize);
        assert!(lines.iter().all(|line| !line.contains_key("repeated")));
        assert!(counted.due(now).is_empty(), "its lines are used up");
        let due = counted.due(now + LINE_EVERY);
        let [(KIND, line)] = &due[..] else { panic!("{due:?}") };
        assert_eq!((number(line, "repeated"), number(line, "since_ms")), (4980, 20));
        // The line has the details of the newest event, and the sum of all bytes.
        assert_eq!((line["request"].as_str(), number(line, "bytes_up")), (Some("4999"), 49_800));
        assert!(counted.due(now + 100 * LINE_EVERY).is_empty() && counted.rest().is_empty());
    }

    #[test]
    fn a_guest_that_makes_up_names_gets_few_lines_and_every_event_is_counted() {
        let (mut now, mut counted) = (Instant::now(), Counted::new(Instant::now()));
        let (mut lines, mut events, mut bytes) = (0, 0, 0);
        let mut write = |line: &Map<String, Value>| {
            lines += 1;
            events += number(line, "repeated");
            bytes += serde_json::to_string(line).unwrap().len() + AROUND;
        };
        for name in 0..5_000 {
            now += Duration::from_millis(40);
            let name = format!("{name}.{}.test", "x".repeat(700));
            if let Some(line) = counted.see(KIND, Some(&name), details(&name), now, 0) {
                write(&line);
            }
            counted.due(now).iter().for_each(|(_, line)| write(line));
        }
        counted.rest().iter().for_each(|(_, line)| write(line));
        assert_eq!(events, 5_000);
        assert!(counted.kinds[&KIND].known.len() <= DESTINATIONS);
        assert!(lines < 500, "{lines}");
        // In 200 s the bucket gains a tenth of a megabyte.
        assert!(bytes < (BYTES as usize) + 110_000, "{bytes}");
    }

    #[test]
    fn all_kinds_together_are_bounded_by_their_bytes() {
        let (now, mut counted) = (Instant::now(), Counted::new(Instant::now()));
        let reasons: Vec<&'static str> =
            (0..100).map(|at| &*Box::leak(format!("r{at}").into_boxed_str())).collect();
        let mut bytes = 0;
        for reason in &reasons {
            for name in 0..DESTINATIONS * LINES as usize {
                let name = (name % DESTINATIONS).to_string();
                let line = counted.see(("p", "e", reason), Some(&name), details(&"y".repeat(1000)), now, 0);
                bytes += line.map_or(0, |line| serde_json::to_string(&line).unwrap().len());
            }
        }
        assert!((BYTES as usize / 2..=BYTES as usize).contains(&bytes), "{bytes}");
    }

    #[test]
    fn a_flood_is_not_looked_at_closely_and_one_in_silence_makes_room() {
        let (now, mut counted) = (Instant::now(), Counted::new(Instant::now()));
        assert_eq!((0..10_000).filter(|_| counted.looks(KIND, now)).count(), LOOKS as usize);
        assert!(counted.looks(KIND, now + LOOK_EVERY) && !counted.looks(KIND, now + LOOK_EVERY));
        let mut again = 0;
        for _ in 0..1000 {
            again += u64::from(counted.again(KIND, now));
            counted.see(KIND, None, details("x"), now, 0);
        }
        let [(KIND, line)] = &counted.rest()[..] else { panic!() };
        assert_eq!(number(line, "repeated"), again + 1000 - u64::from(LINES));
        for name in 0..=DESTINATIONS {
            counted.see(KIND, Some(&name.to_string()), details("x"), now, 0);
        }
        assert!(!counted.kinds[&KIND].known.contains_key(&DESTINATIONS.to_string()));
        counted.see(KIND, Some("later"), details("x"), now + FORGOTTEN, 0);
        assert!(counted.kinds[&KIND].known.contains_key("later"));
    }
}
