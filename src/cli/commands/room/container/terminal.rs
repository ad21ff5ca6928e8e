//! The person's own terminal while a program elsewhere has it: every key goes there as it is. Through `stty`, which is
//! wherever a terminal is.

use std::process::{Command, Stdio};

/// Puts the terminal back when dropped.
#[derive(Debug)]
pub(super) struct Terminal {
    /// How it was, in `stty`'s words.
    before: Option<String>,
}

impl Terminal {
    /// Passes keys on as they are, if `wanted`.
    pub fn raw(wanted: bool) -> Self {
        let before = wanted.then(|| stty(&["-g"])).flatten().map(|text| text.trim().to_owned());
        if before.is_some() {
            stty(&["raw", "-echo"]);
        }
        Self { before }
    }

    /// Width and height, characters; none without a terminal.
    pub fn size() -> Option<(u16, u16)> {
        let text = stty(&["size"])?;
        let (height, width) = text.trim().split_once(' ')?;
        Some((width.parse().ok()?, height.parse().ok()?))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            stty(&[before]);
        }
    }
}

fn stty(args: &[&str]) -> Option<String> {
    let done = Command::new("stty").args(args).stdin(Stdio::inherit()).stderr(Stdio::null()).output().ok()?;
    done.status.success().then(|| String::from_utf8_lossy(&done.stdout).into_owned())
}
