//! Old and short spellings of the flags of `process` and `voicebot`, turned into today's before parsing. Pure.
//!
//! `--require-X` is `--X`, `--toolkit`/`-t` is `--require-toolkit`, `--database-namespace` is `--dataset-namespace`, `-rr` and
//! `-rt` are long options (and `-rs`), and `--no-X` is `--X=false`; each also with `=VALUE`.

use std::ffi::OsString;

/// Options that once had a `require-` before them.
const ONCE_REQUIRED: [&str; 15] = [
    "image-generation",
    "computer-use",
    "shell",
    "advanced-shell",
    "apply-patch",
    "web-search",
    "web-fetch",
    "mcp",
    "storage",
    "read-only-storage",
    "time",
    "uuid",
    "table-read",
    "table-write",
    "discovery",
];

/// Switches with a `--no-` form.
const SWITCHES: [&str; 15] = [
    "preamble-rule",
    "computer-use",
    "shell",
    "apply-patch",
    "web-search",
    "web-fetch",
    "script-tool",
    "discover-script-tools",
    "mcp",
    "storage",
    "time",
    "always-reply",
    "delegate-shell-token",
    "log-llm-requests",
    "require-document-authoring",
];

/// The command line with the arguments after `process` or `voicebot` rewritten; any other command line as it is.
pub fn rewrite(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut inside = false;
    let mut ended = false;
    let mut rewritten = Vec::new();
    for (index, arg) in args.into_iter().enumerate() {
        let text = arg.to_str().map(str::to_owned);
        match text.as_deref() {
            Some("--") => ended = true,
            // The program's own name may be anything.
            Some("process" | "voicebot") if index > 0 && !ended && !inside => inside = true,
            Some(text) if inside && !ended => {
                rewritten.push(one(text).into());
                continue;
            }
            _ => {}
        }
        rewritten.push(arg);
    }
    rewritten
}

fn one(arg: &str) -> String {
    let (option, value) = match arg.split_once('=') {
        Some((option, value)) => (option, Some(value)),
        None => (arg, None),
    };
    let with_value = |option: &str| match value {
        Some(value) => format!("{option}={value}"),
        None => option.to_owned(),
    };
    match option {
        "-rr" => return with_value("--room-rules"),
        "-rt" | "-t" | "--toolkit" => return with_value("--require-toolkit"),
        "-rs" | "--require-schema" => return with_value("--schema"),
        "--database-namespace" => return with_value("--dataset-namespace"),
        _ => {}
    }
    let Some(name) = option.strip_prefix("--") else { return arg.to_owned() };
    let (no, name) = match name.strip_prefix("no-") {
        Some(name) => (true, name),
        None => (false, name),
    };
    let today = match name.strip_prefix("require-") {
        Some(rest) if ONCE_REQUIRED.contains(&rest) => rest,
        _ => name,
    };
    if no && value.is_none() && SWITCHES.contains(&today) {
        return format!("--{today}=false");
    }
    with_value(&format!("--{}{today}", if no { "no-" } else { "" }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(line: &str) -> String {
        let args = rewrite(line.split(' ').map(OsString::from));
        args.iter().map(|a| a.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn old_spellings_become_todays() {
        let line = "m process join --require-storage --require-web-search --no-require-time --require-table-read=t \
                    -rr a -rt b -t c --toolkit=d --database-namespace x --require-schema s --no-storage --storage";
        let want = "m process join --storage --web-search --time=false --table-read=t \
                    --room-rules a --require-toolkit b --require-toolkit c --require-toolkit=d --dataset-namespace x --schema s --storage=false --storage";
        assert_eq!(rewritten(line), want);
        assert_eq!(
            rewritten("m voicebot join -rr a -rt b -rs c"),
            "m voicebot join --room-rules a --require-toolkit b --schema c"
        );
    }

    #[test]
    fn what_is_not_for_process_and_what_follows_a_double_dash_stays() {
        for line in [
            "m rooms list --require-storage",
            "process rooms -t x",
            "m process join -- --require-storage",
            "m process join --require-toolkit x --require-document-authoring --no-zap",
        ] {
            assert_eq!(rewritten(line), line);
        }
    }
}
