//! The text of a message as `DATA` carries it: dots are taken out, the end is `CRLF . CRLF` and nothing else, so that
//! no message can smuggle a second one in. Pure.

/// Why what was read is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// More bytes than are taken.
    TooLarge,
    /// A line feed or carriage return alone: servers disagree on what it means.
    BareLineEnd,
    /// A zero byte.
    Zero,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    LineStart,
    Dot,
    DotReturn,
    Middle,
    Return,
}

/// Reads one message.
#[derive(Debug)]
pub(crate) struct Body {
    bytes: Vec<u8>,
    max: usize,
    seen: usize,
    at: At,
    flaw: Option<Flaw>,
}

impl Body {
    pub fn new(max: usize) -> Self {
        Self { bytes: Vec::new(), max, seen: 0, at: At::LineStart, flaw: None }
    }

    /// Keeps nothing of the message any more, and goes on looking for its end where it is.
    pub fn discard(&mut self) {
        self.bytes = Vec::new();
        self.max = 0;
    }

    /// Bytes read so far, kept or not.
    pub const fn seen(&self) -> usize {
        self.seen
    }

    /// Takes what came in; `Some` with how much of it was used once the message has ended.
    pub fn feed(&mut self, input: &[u8]) -> Option<usize> {
        for (index, byte) in input.iter().enumerate() {
            self.seen += 1;
            if self.step(*byte) {
                return Some(index + 1);
            }
        }
        None
    }

    /// True at the end.
    fn step(&mut self, byte: u8) -> bool {
        self.at = match (self.at, byte) {
            (At::LineStart, b'.') => At::Dot,
            (At::Dot, b'\r') => At::DotReturn,
            (At::DotReturn, b'\n') => return true,
            (At::DotReturn, _) => {
                self.keep(b'\r');
                self.flaw(Flaw::BareLineEnd);
                self.plain(byte)
            }
            (At::Return, b'\n') => {
                self.keep(byte);
                At::LineStart
            }
            (At::Return, _) => {
                self.flaw(Flaw::BareLineEnd);
                self.plain(byte)
            }
            (At::LineStart | At::Dot | At::Middle, _) => self.plain(byte),
        };
        false
    }

    fn plain(&mut self, byte: u8) -> At {
        self.keep(byte);
        match byte {
            b'\r' => At::Return,
            b'\n' => {
                self.flaw(Flaw::BareLineEnd);
                At::Middle
            }
            0 => {
                self.flaw(Flaw::Zero);
                At::Middle
            }
            _ => At::Middle,
        }
    }

    fn keep(&mut self, byte: u8) {
        if self.bytes.len() < self.max {
            self.bytes.push(byte);
        } else if self.flaw != Some(Flaw::TooLarge) {
            self.flaw = Some(Flaw::TooLarge);
            self.bytes = Vec::new();
            self.max = 0;
        }
    }

    fn flaw(&mut self, flaw: Flaw) {
        self.flaw.get_or_insert(flaw);
    }

    /// The message, or why not.
    pub fn finish(self) -> Result<Vec<u8>, Flaw> {
        match self.flaw {
            Some(flaw) => Err(flaw),
            None => Ok(self.bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_discarded_ends_where_it_ends() {
        // Cut in the middle of a line, just before what would be the end at the begin of one.
        let mut body = Body::new(1000);
        assert_eq!(body.feed(b"text\r\nx"), None);
        body.discard();
        assert_eq!(body.feed(b".\r\nMAIL FROM:<a@b>\r\n"), None);
        assert_eq!(body.feed(b".\r\nQUIT\r\n"), Some(3));
        assert_eq!(body.finish(), Err(Flaw::TooLarge));
    }

    fn whole(input: &[u8]) -> (Option<usize>, Result<Vec<u8>, Flaw>) {
        let mut body = Body::new(64);
        let end = body.feed(input);
        (end, body.finish())
    }

    #[test]
    fn dots_are_taken_out_and_the_rest_is_left_for_the_next_command() {
        let (end, text) = whole(b"a\r\n..b\r\n.c\r\n\r\n.\r\nQUIT\r\n");
        assert_eq!((end, text.unwrap().as_slice()), (Some(17), &b"a\r\n.b\r\nc\r\n\r\n"[..]));
        assert_eq!(whole(b".\r\n"), (Some(3), Ok(vec![])));
    }

    #[test]
    fn the_end_is_found_however_the_bytes_are_cut() {
        let input = b"x\r\n.\r\n";
        for cut in 0..input.len() {
            let mut body = Body::new(64);
            assert_eq!(body.feed(&input[..cut]), None, "{cut}");
            assert_eq!(body.feed(&input[cut..]), Some(input.len() - cut), "{cut}");
            assert_eq!(body.finish().unwrap(), b"x\r\n");
        }
    }

    #[test]
    fn no_other_line_end_ends_a_message() {
        for smuggled in [
            &b"a\n.\nMAIL\r\n.\r\n"[..],
            b"a\r\n.\nMAIL\r\n.\r\n",
            b"a\n.\r\nMAIL\r\n.\r\n",
            b"a\r.\r\nb\r\n.\r\n",
            b"a\r\n.\rb\r\n.\r\n",
        ] {
            let (end, text) = whole(smuggled);
            assert_eq!((end, text), (Some(smuggled.len()), Err(Flaw::BareLineEnd)), "{smuggled:?}");
        }
        assert_eq!(whole(b"a\0b\r\n.\r\n").1, Err(Flaw::Zero));
    }

    #[test]
    fn too_much_is_read_to_its_end_and_not_kept() {
        let mut body = Body::new(8);
        assert_eq!(body.feed(&[b'x'; 100]), None);
        assert!(body.bytes.is_empty());
        assert_eq!(body.feed(b"\r\n.\r\n"), Some(5));
        assert_eq!((body.seen(), body.finish()), (105, Err(Flaw::TooLarge)));
    }
}
