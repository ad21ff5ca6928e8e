//! The data of server-sent events, read while their bytes pass.

/// What comes out of the stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// Bytes of an event's data, without what frames them.
    Data(&'a [u8]),
    /// The event is whole.
    End,
}

/// Finds data in lines that begin with `data:`. Holds a few bytes, never a line.
#[derive(Debug)]
pub(super) struct Events {
    line: Line,
    /// Whether the event has data so far.
    some: bool,
    after_return: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// So many bytes of [`FIELD`] were seen.
    Field(usize),
    Data,
    Other,
}

const FIELD: &[u8] = b"data:";

impl Events {
    pub(super) const fn new() -> Self {
        Self { line: Line::Field(0), some: false, after_return: false }
    }

    pub(super) fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(Piece<'_>)) {
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            if std::mem::take(&mut self.after_return) && byte == b'\n' {
                rest = after;
                continue;
            }
            match self.line {
                Line::Data | Line::Other if byte != b'\r' && byte != b'\n' => {
                    let end = rest.iter().position(|b| matches!(b, b'\r' | b'\n')).unwrap_or(rest.len());
                    let (line, left) = rest.split_at(end);
                    if self.line == Line::Data {
                        each(Piece::Data(line));
                    }
                    rest = left;
                    continue;
                }
                _ if byte == b'\r' || byte == b'\n' => {
                    self.after_return = byte == b'\r';
                    self.line_ends(&mut each);
                }
                Line::Field(seen) if FIELD[seen] == byte => {
                    let whole = seen + 1 == FIELD.len();
                    self.some |= whole;
                    self.line = if whole { Line::Data } else { Line::Field(seen + 1) };
                }
                _ => self.line = Line::Other,
            }
            rest = after;
        }
    }

    fn line_ends(&mut self, each: &mut impl FnMut(Piece<'_>)) {
        if self.line == Line::Field(0) && std::mem::take(&mut self.some) {
            each(Piece::End);
        } else if self.line == Line::Data {
            // Lines of one event are joined by line ends.
            each(Piece::Data(b"\n"));
        }
        self.line = Line::Field(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(text: &str, piece: usize) -> Vec<String> {
        let (mut events, mut all, mut one) = (Events::new(), Vec::new(), Vec::new());
        for part in text.as_bytes().chunks(piece) {
            events.feed(part, |piece| match piece {
                Piece::Data(bytes) => one.extend_from_slice(bytes),
                Piece::End => {
                    all.push(String::from_utf8(std::mem::take(&mut one)).unwrap().trim().to_owned());
                }
            });
        }
        all
    }

    #[test]
    fn events_are_found_wherever_the_stream_is_cut() {
        let text = "event: a\ndata: {\"n\": 1}\n\n: comment\n\nid: 3\r\ndata:{\"n\":\r\ndata: 2}\r\n\r\ndatax: no\n\ndata: [DONE]\n\ndata: cut";
        for piece in 1..20 {
            assert_eq!(data(text, piece), ["{\"n\": 1}", "{\"n\":\n 2}", "[DONE]"], "in pieces of {piece}");
        }
    }
}
