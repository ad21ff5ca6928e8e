//! A few members of a JSON text, read while its bytes pass: the text is never held as a whole, whatever its size.

/// How deep members are looked for.
const DEPTH: usize = 2;
/// Longest value that is kept, bytes; a longer one is not found.
const VALUE_BYTES_MAX: usize = 64 * 1024;
/// Longest name of a member that is compared, bytes.
const NAME_BYTES_MAX: usize = 64;

/// Where a value is: the names of the members that lead to it, the outermost first.
pub(super) type Path = &'static [&'static str];

/// Reads one JSON text. What is no JSON yields nothing, or nonsense that the caller's reading refuses; it does no harm.
#[derive(Debug)]
pub(super) struct Scan {
    wanted: &'static [Path],
    /// Open objects and lists.
    depth: usize,
    /// Whether the open ones, up to [`DEPTH`], are objects; by depth, from 1.
    is_object: [bool; DEPTH + 1],
    names: [Vec<u8>; DEPTH + 1],
    in_text: bool,
    escaped: bool,
    in_name: bool,
    expects_name: bool,
    expects_value: bool,
    taken: Option<Taken>,
    found: Vec<(Path, Vec<u8>)>,
}

#[derive(Debug)]
struct Taken {
    path: Path,
    bytes: Vec<u8>,
    /// Depth at which it began; it ends when the text is back there.
    depth: usize,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Container,
    Text,
    /// A number or a word: ends with whatever follows.
    Bare,
}

impl Scan {
    pub(super) fn new(wanted: &'static [Path]) -> Self {
        Self {
            wanted,
            depth: 0,
            is_object: [false; DEPTH + 1],
            names: Default::default(),
            in_text: false,
            escaped: false,
            in_name: false,
            expects_name: false,
            expects_value: false,
            taken: None,
            found: Vec::new(),
        }
    }

    /// What was found since the last call, in the order of the text.
    pub(super) fn drain(&mut self) -> Vec<(Path, Vec<u8>)> {
        std::mem::take(&mut self.found)
    }

    /// As [`Scan::drain`]; the next text may begin.
    pub(super) fn finish(&mut self) -> Vec<(Path, Vec<u8>)> {
        let found = self.drain();
        if self.depth != 0 || self.in_text {
            *self = Self::new(self.wanted);
        }
        found
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.step(*byte);
        }
    }

    fn step(&mut self, byte: u8) {
        if self.in_text {
            return self.text(byte);
        }
        match byte {
            b'"' => {
                self.in_text = true;
                if self.expects_name {
                    self.expects_name = false;
                    self.in_name = true;
                    self.names[self.depth].clear();
                } else {
                    self.begin(Kind::Text);
                }
                self.keep(byte);
            }
            b'{' | b'[' => {
                self.begin(Kind::Container);
                self.keep(byte);
                self.depth += 1;
                if self.depth <= DEPTH {
                    self.is_object[self.depth] = byte == b'{';
                    self.names[self.depth].clear();
                }
                self.expects_name = self.depth <= DEPTH && byte == b'{';
            }
            b'}' | b']' => {
                self.end(Kind::Bare);
                self.keep(byte);
                self.depth = self.depth.saturating_sub(1);
                self.expects_name = false;
                self.end(Kind::Container);
            }
            b',' => {
                self.end(Kind::Bare);
                self.keep(byte);
                self.expects_name = (1..=DEPTH).contains(&self.depth) && self.is_object[self.depth];
            }
            b':' => {
                self.keep(byte);
                self.expects_value = (1..=DEPTH).contains(&self.depth);
            }
            b' ' | b'\t' | b'\r' | b'\n' => self.keep(byte),
            _ => {
                self.begin(Kind::Bare);
                self.keep(byte);
            }
        }
    }

    /// Within quotes.
    fn text(&mut self, byte: u8) {
        let closes = byte == b'"' && !self.escaped;
        self.escaped = byte == b'\\' && !self.escaped;
        self.keep(byte);
        if self.in_name {
            if closes {
                self.in_name = false;
                self.in_text = false;
            } else if self.names[self.depth].len() < NAME_BYTES_MAX {
                self.names[self.depth].push(byte);
            }
            return;
        }
        if closes {
            self.in_text = false;
            self.end(Kind::Text);
        }
    }

    /// A value begins here; it is kept if its place is wanted.
    fn begin(&mut self, kind: Kind) {
        if !self.expects_value {
            return;
        }
        self.expects_value = false;
        let names = &self.names[1..=self.depth];
        let here = |path: &&Path| {
            path.len() == names.len()
                && path.iter().zip(names).all(|(want, name)| want.as_bytes() == name.as_slice())
        };
        if self.taken.is_none()
            && let Some(path) = self.wanted.iter().find(here)
        {
            self.taken = Some(Taken { path, bytes: Vec::new(), depth: self.depth, kind });
        }
    }

    fn keep(&mut self, byte: u8) {
        if let Some(taken) = &mut self.taken {
            if taken.bytes.len() == VALUE_BYTES_MAX {
                self.taken = None;
                return;
            }
            taken.bytes.push(byte);
        }
    }

    fn end(&mut self, kind: Kind) {
        let ends = |taken: &mut Taken| taken.kind == kind && taken.depth == self.depth;
        if let Some(taken) = self.taken.take_if(ends) {
            self.found.push((taken.path, taken.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    const WANTED: &[Path] = &[&["usage"], &["model"], &["response", "usage"], &["n"]];

    fn found(text: &str, piece: usize) -> Vec<(String, Value)> {
        let mut scan = Scan::new(WANTED);
        text.as_bytes().chunks(piece).for_each(|part| scan.feed(part));
        let read =
            |(path, bytes): (Path, Vec<u8>)| Some((path.join("."), serde_json::from_slice(&bytes).ok()?));
        scan.finish().into_iter().filter_map(read).collect()
    }

    #[test]
    fn members_are_found_wherever_the_text_is_cut() {
        let text = r#" {"a": [{"usage": 1}], "model" : "g\"p\\t", "usage": {"x": [1, {"usage": 2}]},
            "n": -1.5e3, "deep": {"response": {"usage": 3}}, "response": {"id": "r", "usage": {"y": true}, "z": {}}} "#;
        for piece in 1..40 {
            let want = [
                ("model", json!("g\"p\\t")),
                ("usage", json!({"x": [1, {"usage": 2}]})),
                ("n", json!(-1500.0)),
                ("response.usage", json!({"y": true})),
            ];
            let want: Vec<(String, Value)> = want.into_iter().map(|(p, v)| (p.to_owned(), v)).collect();
            assert_eq!(found(text, piece), want, "in pieces of {piece}");
        }
    }

    #[test]
    fn names_within_texts_and_lists_are_not_members() {
        assert!(found(r#"{"a": "\"usage\": 1", "b": ["usage", 1]}"#, 3).is_empty());
        assert!(found(r#"[{"usage": 1}]"#, 3).is_empty());
        assert!(found("usage: 1", 3).is_empty());
        assert_eq!(found(r#"{"n": 7}"#, 2), [("n".to_owned(), json!(7))]);
        assert_eq!(found(r#"{"usage": null, "n": false}"#, 2).len(), 2);
    }

    #[test]
    fn a_value_beyond_the_bound_is_not_kept_and_the_rest_is() {
        let long = "x".repeat(VALUE_BYTES_MAX);
        let text = format!(r#"{{"usage": "{long}", "n": 1}}"#);
        assert_eq!(found(&text, 1000), [("n".to_owned(), json!(1))]);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-z\"\\\\{}\\[\\]:, ü]{0,8}".prop_map(Value::from),
        ];
        let name = prop_oneof![Just("usage".to_owned()), Just("response".to_owned()), "[a-z\"\\\\]{0,3}"];
        leaf.prop_recursive(4, 40, 5, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(name.clone(), inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_finds_what_a_parser_finds(value in any_json(), piece in 1_usize..9, pretty in any::<bool>()) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            let found = found(&text.unwrap(), piece);
            let first = |path: &str| found.iter().find(|(p, _)| p == path).map(|(_, v)| v.clone());
            prop_assert_eq!(first("usage"), value.pointer("/usage").filter(|_| value.is_object()).cloned());
            let inner = value.get("response").filter(|r| r.is_object()).and_then(|r| r.get("usage"));
            prop_assert_eq!(first("response.usage"), inner.cloned());
        }

        #[test]
        fn nonsense_does_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut scan = Scan::new(WANTED);
            scan.feed(&bytes);
            scan.finish();
            scan.feed(br#"{"n": 1}"#);
            prop_assert!(scan.finish().len() <= 2);
        }
    }
}
