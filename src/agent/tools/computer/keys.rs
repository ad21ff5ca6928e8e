//! Names of keys as models write them, and what the browser calls them. Pure.

/// A key to press.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// `key` of the web's keyboard events.
    pub key: String,
    pub code: String,
    pub virtual_code: u32,
    /// What it types, if anything.
    pub text: Option<String>,
    /// Its bit among the modifiers.
    pub modifier: u32,
}

pub(super) const ALT: u32 = 1;
pub(super) const CONTROL: u32 = 2;
pub(super) const META: u32 = 4;
pub(super) const SHIFT: u32 = 8;

/// Names that models use, and the key's name, code and modifier.
const NAMED: [(&[&str], &str, u32, u32); 20] = [
    (&["enter", "return"], "Enter", 13, 0),
    (&["tab"], "Tab", 9, 0),
    (&["backspace"], "Backspace", 8, 0),
    (&["delete", "del"], "Delete", 46, 0),
    (&["insert"], "Insert", 45, 0),
    (&["esc", "escape"], "Escape", 27, 0),
    (&["arrowleft", "left"], "ArrowLeft", 37, 0),
    (&["arrowup", "up"], "ArrowUp", 38, 0),
    (&["arrowright", "right"], "ArrowRight", 39, 0),
    (&["arrowdown", "down"], "ArrowDown", 40, 0),
    (&["home"], "Home", 36, 0),
    (&["end"], "End", 35, 0),
    (&["pageup"], "PageUp", 33, 0),
    (&["pagedown"], "PageDown", 34, 0),
    (&["capslock"], "CapsLock", 20, 0),
    (&["space", " "], " ", 32, 0),
    (&["alt", "option"], "Alt", 18, ALT),
    (&["ctrl", "control"], "Control", 17, CONTROL),
    (&["cmd", "meta", "super", "win"], "Meta", 91, META),
    (&["shift"], "Shift", 16, SHIFT),
];

/// The key of a name; `None` for one that is unknown.
pub(super) fn key(name: &str) -> Option<Key> {
    let lower = name.to_ascii_lowercase();
    if let Some((_, key, virtual_code, modifier)) =
        NAMED.iter().find(|(names, ..)| names.contains(&lower.as_str()))
    {
        let text = match *key {
            "Enter" => Some("\r".to_owned()),
            " " => Some(" ".to_owned()),
            _ => None,
        };
        let code = match *key {
            " " => "Space".to_owned(),
            key if *modifier != 0 => format!("{key}Left"),
            key => key.to_owned(),
        };
        return Some(Key {
            key: (*key).to_owned(),
            code,
            virtual_code: *virtual_code,
            text,
            modifier: *modifier,
        });
    }
    if let Some(number) =
        lower.strip_prefix('f').and_then(|n| n.parse::<u32>().ok()).filter(|n| (1..=12).contains(n))
    {
        let name = format!("F{number}");
        return Some(Key {
            key: name.clone(),
            code: name,
            virtual_code: 111 + number,
            text: None,
            modifier: 0,
        });
    }
    let mut characters = name.chars();
    let (Some(only), None) = (characters.next(), characters.next()) else { return None };
    let upper = only.to_ascii_uppercase();
    let (code, virtual_code) = match upper {
        'A'..='Z' => (format!("Key{upper}"), u32::from(upper)),
        '0'..='9' => (format!("Digit{upper}"), u32::from(upper)),
        _ => (String::new(), 0),
    };
    Some(Key { key: only.to_string(), code, virtual_code, text: Some(only.to_string()), modifier: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_names_of_the_web() {
        let named = |name: &str| key(name).map(|key| (key.key, key.virtual_code, key.modifier));
        assert_eq!(named("CTRL"), Some(("Control".into(), 17, CONTROL)));
        assert_eq!(named("ENTER"), Some(("Enter".into(), 13, 0)));
        assert_eq!(named("F5"), Some(("F5".into(), 116, 0)));
        assert_eq!(key("a").unwrap().code, "KeyA");
        assert_eq!(key("ä").unwrap().text.as_deref(), Some("ä"));
        assert_eq!((key("nothing"), key(""), key("F13")), (None, None, None));
    }
}
