//! The JSON inside cells: written by us, read strictly, with exact numbers (a general parser would round floats).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::borrow::Cow;
use std::fmt;
use std::fmt::Write as _;

/// Most arrays and objects inside each other that are skipped over or read.
const DEPTH_MAX: usize = 64;

pub(super) fn put_text(value: &str, out: &mut String) {
    out.push('"');
    for character in value.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

pub(super) fn put_bytes(value: &[u8], out: &mut String) {
    out.push('"');
    STANDARD.encode_string(value, out);
    out.push('"');
}

/// The shortest digits that read back as the same number.
pub(super) fn put_float(value: impl fmt::Debug, out: &mut String) {
    let _ = write!(out, "{value:?}");
}

pub(super) fn bytes(text: &str) -> Result<Vec<u8>, String> {
    STANDARD.decode(text).map_err(|e| format!("holds bytes that are not base64: {e}"))
}

/// A place in a JSON text.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0, depth: 0 }
    }

    fn wrong(&self, wanted: &str) -> String {
        format!("holds JSON that has no {wanted} at byte {}", self.at)
    }

    fn space(&mut self) {
        while self.text.as_bytes().get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    fn peek(&mut self) -> Option<u8> {
        self.space();
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, token: &str) -> bool {
        self.space();
        let found = self.text[self.at..].starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    /// Nothing may follow.
    pub fn end(&mut self) -> Result<(), String> {
        if self.peek().is_none() { Ok(()) } else { Err(self.wrong("end")) }
    }

    pub fn null(&mut self) -> bool {
        self.take("null")
    }

    pub fn boolean(&mut self) -> Result<bool, String> {
        if self.take("true") {
            Ok(true)
        } else if self.take("false") {
            Ok(false)
        } else {
            Err(self.wrong("true or false"))
        }
    }

    /// The characters of a number.
    pub fn number(&mut self) -> Result<&'a str, String> {
        self.space();
        let rest = &self.text[self.at..];
        let is_part = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
        let length = rest.as_bytes().iter().take_while(|byte| is_part(byte)).count();
        if length == 0 {
            return Err(self.wrong("number"));
        }
        self.at += length;
        Ok(&rest[..length])
    }

    pub fn is_string(&mut self) -> bool {
        self.peek() == Some(b'"')
    }

    pub fn string(&mut self) -> Result<Cow<'a, str>, String> {
        if !self.take("\"") {
            return Err(self.wrong("string"));
        }
        let text = self.text;
        let start = self.at;
        let stop = |from: usize| text[from..].find(['"', '\\']).map(|length| from + length);
        let first = stop(start).ok_or_else(|| self.wrong("end of the string"))?;
        if text.as_bytes()[first] == b'"' {
            self.at = first + 1;
            return Ok(Cow::Borrowed(&text[start..first]));
        }
        let mut out = String::from(&text[start..first]);
        self.at = first;
        loop {
            if text.as_bytes()[self.at] == b'"' {
                self.at += 1;
                return Ok(Cow::Owned(out));
            }
            out.push(self.escape()?);
            let next = stop(self.at).ok_or_else(|| self.wrong("end of the string"))?;
            out.push_str(&text[self.at..next]);
            self.at = next;
        }
    }

    fn escape(&mut self) -> Result<char, String> {
        let code = self.text.as_bytes().get(self.at + 1).copied();
        self.at += 2;
        Ok(match code {
            Some(plain @ (b'"' | b'\\' | b'/')) => char::from(plain),
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'u') => {
                let high = self.hex()?;
                if (0xd800..0xdc00).contains(&high) {
                    if !self.text[self.at..].starts_with("\\u") {
                        return Err(self.wrong("second half of a character"));
                    }
                    self.at += 2;
                    let low = self.hex()?;
                    let pair = 0x10000 + ((high - 0xd800) << 10) + low.wrapping_sub(0xdc00) % 0x400;
                    char::from_u32(pair).ok_or_else(|| self.wrong("character"))?
                } else {
                    char::from_u32(high).ok_or_else(|| self.wrong("character"))?
                }
            }
            _ => return Err(self.wrong("escape that JSON knows")),
        })
    }

    fn hex(&mut self) -> Result<u32, String> {
        let digits = self.text.get(self.at..self.at + 4).ok_or_else(|| self.wrong("four digits"))?;
        let value = u32::from_str_radix(digits, 16).map_err(|_| self.wrong("four digits"))?;
        self.at += 4;
        Ok(value)
    }

    /// Reads an array; `item` reads one element.
    pub fn array(&mut self, mut item: impl FnMut(&mut Self) -> Result<(), String>) -> Result<(), String> {
        self.open("[")?;
        if self.take("]") {
            self.depth -= 1;
            return Ok(());
        }
        loop {
            item(self)?;
            if !self.take(",") {
                return self.close("]");
            }
        }
    }

    /// Reads an object; `member` reads the value of a name.
    pub fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, &str) -> Result<(), String>,
    ) -> Result<(), String> {
        self.open("{")?;
        if self.take("}") {
            self.depth -= 1;
            return Ok(());
        }
        loop {
            let name = self.string()?;
            if !self.take(":") {
                return Err(self.wrong("colon"));
            }
            member(self, &name)?;
            if !self.take(",") {
                return self.close("}");
            }
        }
    }

    fn open(&mut self, token: &str) -> Result<(), String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(format!("holds JSON more than {DEPTH_MAX} levels deep"));
        }
        if self.take(token) { Ok(()) } else { Err(self.wrong(token)) }
    }

    fn close(&mut self, token: &str) -> Result<(), String> {
        self.depth -= 1;
        if self.take(token) { Ok(()) } else { Err(self.wrong(token)) }
    }
}
