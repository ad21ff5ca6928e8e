//! Answers of the server: a code of three digits, the enhanced one (RFC 3463), a text. Pure.

use std::borrow::Cow;

/// One answer, of one line or more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    code: u16,
    lines: Vec<Cow<'static, str>>,
}

impl Reply {
    pub fn new(code: u16, text: impl Into<Cow<'static, str>>) -> Self {
        Self { code, lines: vec![text.into()] }
    }

    pub fn lines(code: u16, lines: Vec<Cow<'static, str>>) -> Self {
        Self { code, lines }
    }

    #[cfg(test)]
    pub const fn code(&self) -> u16 {
        self.code
    }

    /// Whether what was asked for was done, or may go on.
    pub const fn is_ok(&self) -> bool {
        self.code < 400
    }

    /// As it goes over the wire. A text cannot end a line early.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = String::new();
        let last = self.lines.len().saturating_sub(1);
        for (at, line) in self.lines.iter().enumerate() {
            let line = line.replace(['\r', '\n'], " ");
            let separator = if at == last { ' ' } else { '-' };
            out.push_str(&format!("{}{separator}{line}\r\n", self.code));
        }
        out.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_numbered_and_cannot_be_broken() {
        let reply = Reply::lines(250, vec!["a".into(), "b".into()]);
        assert_eq!(reply.bytes(), b"250-a\r\n250 b\r\n");
        assert_eq!(Reply::new(550, "x\r\n250 ok").bytes(), b"550 x  250 ok\r\n");
    }
}
