//! Bytes that arrive in pieces, handed on as UTF-8 text: no character is split, what is none is replaced.

/// Longest rest of an unfinished character, bytes.
const REST_BYTES_MAX: usize = 3;

/// Takes pieces, gives text.
#[derive(Debug, Default)]
pub struct Utf8 {
    rest: Vec<u8>,
}

impl Utf8 {
    /// The text of this piece with what was left of the last one; the begin of an unfinished character is kept back.
    pub fn push(&mut self, piece: &[u8]) -> String {
        let mut all = std::mem::take(&mut self.rest);
        all.extend_from_slice(piece);
        let keep = unfinished(&all);
        self.rest = all.split_off(all.len() - keep);
        String::from_utf8_lossy(&all).into_owned()
    }

    /// What is left at the end.
    pub fn end(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.rest)).into_owned()
    }
}

/// How many bytes at the end may be the begin of a character.
fn unfinished(bytes: &[u8]) -> usize {
    for back in 1..=REST_BYTES_MAX.min(bytes.len()) {
        let byte = bytes[bytes.len() - back];
        let wants = match byte {
            0x00..=0x7f => return 0,
            0x80..=0xbf => continue,
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => return 0,
        };
        return if wants > back { back } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_character_in_two_pieces_comes_whole() {
        let mut text = Utf8::default();
        assert_eq!(text.push(b"a\xe2\x82"), "a");
        assert_eq!(text.push(b"\xac!"), "\u{20ac}!");
        assert_eq!(text.push(b"\xff\xf0"), "\u{fffd}");
        assert_eq!(text.end(), "\u{fffd}");
    }

    proptest! {
        #[test]
        fn pieces_say_what_the_whole_says(whole in ".{0,40}", cuts in prop::collection::vec(0_usize..200, 0..8)) {
            let bytes = whole.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            cuts.push(bytes.len());
            let (mut text, mut from, mut said) = (Utf8::default(), 0, String::new());
            for cut in cuts {
                said.push_str(&text.push(&bytes[from..cut]));
                from = cut;
            }
            said.push_str(&text.end());
            prop_assert_eq!(said, whole);
        }
    }
}
