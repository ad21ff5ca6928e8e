//! Forms (`multipart/form-data`), read strictly: what another parser may read differently is refused, because a model could
//! be named there that nobody looked at.

use super::body::Malformed;

/// Longest boundary, bytes (RFC 2046).
const BOUNDARY_BYTES_MAX: usize = 70;

const fn bad(why: &'static str) -> Malformed {
    Malformed::Multipart(why)
}

/// The field `model` of a form.
pub fn form_model(content_type: &str, body: &[u8]) -> Result<Option<String>, Malformed> {
    let boundary = boundary(content_type)?;
    let delimiter = format!("\r\n--{boundary}");
    let mut rest =
        body.strip_prefix(&delimiter.as_bytes()[2..]).ok_or(bad("it does not begin with its boundary"))?;
    let mut model = None;
    loop {
        if matches!(rest, b"--" | b"--\r\n") {
            return Ok(model);
        }
        let part = rest.strip_prefix(b"\r\n").ok_or(bad("a boundary is not at the end of its line"))?;
        let end = find(part, delimiter.as_bytes()).ok_or(bad("the last boundary is missing"))?;
        let (part, next) = part.split_at(end);
        rest = &next[delimiter.len()..];
        let at = find(part, b"\r\n\r\n").ok_or(bad("a part has no end of its headers"))?;
        let (head, value) = (&part[..at], &part[at + 4..]);
        let head = std::str::from_utf8(head).map_err(|_| bad("a header is no text"))?;
        if !names_model(head)? {
            continue;
        }
        let value = std::str::from_utf8(value).map_err(|_| Malformed::NotText("model"))?;
        if model.replace(value.to_owned()).is_some() {
            return Err(Malformed::Twice("model".to_owned()));
        }
    }
}

fn boundary(content_type: &str) -> Result<String, Malformed> {
    let (_, parameters) = content_type.split_once(';').ok_or(bad("the content type names no boundary"))?;
    let mut found = None;
    for (name, value) in parameters_of(parameters)? {
        if name == "boundary" && found.replace(value).is_some() {
            return Err(Malformed::Twice("boundary".to_owned()));
        }
    }
    let fine = |text: &String| {
        (1..=BOUNDARY_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    found.filter(fine).ok_or(bad("the content type names no boundary"))
}

/// Whether a part's headers name the field `model`.
fn names_model(head: &str) -> Result<bool, Malformed> {
    let mut field = None;
    for line in head.split("\r\n") {
        let (name, value) = line.split_once(':').ok_or(bad("a header has no colon"))?;
        if name.is_empty() || !name.bytes().all(is_token) || value.contains(['\r', '\n', '\0']) {
            return Err(bad("a header is folded, or has other characters than it may"));
        }
        match name.to_ascii_lowercase().as_str() {
            "content-disposition" => {
                let parameters = value.trim().strip_prefix("form-data");
                let parameters = parameters.and_then(|rest| rest.trim_start().strip_prefix(';'));
                let parameters = parameters_of(parameters.ok_or(bad("a part is no form field"))?)?;
                let mut named = parameters.into_iter().filter(|(name, _)| name == "name" || name == "name*");
                let (Some((name, text)), None) = (named.next(), named.next()) else {
                    return Err(bad("a part has no name, or more than one"));
                };
                if name == "name*" || field.replace(text).is_some() {
                    return Err(bad("a part has no plain name, or more than one"));
                }
            }
            "content-type" | "content-length" => {}
            _ => return Err(bad("a part has headers besides its disposition, type and length")),
        }
    }
    let field = field.ok_or(bad("a part has no disposition"))?;
    Ok(field.trim().eq_ignore_ascii_case("model"))
}

/// `a=b; c="d; e"`; names in lower case.
fn parameters_of(text: &str) -> Result<Vec<(String, String)>, Malformed> {
    let (mut all, mut rest) = (Vec::new(), text.trim());
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').ok_or(bad("a parameter has no value"))?;
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(bad("a parameter's name has other characters than it may"));
        }
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').ok_or(bad("a quotation does not end"))?,
            None => after.split_at(after.find(';').unwrap_or(after.len())),
        };
        // With it quotations end elsewhere for some.
        if value.contains(['\\', '"']) {
            return Err(bad("a parameter has a backslash or a quotation mark in it"));
        }
        all.push((name.to_ascii_lowercase(), value.trim_end().to_owned()));
        rest = match after.trim_start() {
            "" => "",
            more => more.strip_prefix(';').ok_or(bad("parameters are not apart"))?.trim_start(),
        };
    }
    Ok(all)
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: &str = "multipart/form-data; boundary=\"b-1\"";

    fn read(body: &str) -> Result<Option<String>, Malformed> {
        form_model(KIND, body.replace('\n', "\r\n").as_bytes())
    }

    #[test]
    fn the_model_of_a_form_is_found() {
        let body = "--b-1\nContent-Disposition: form-data; name=\"file\"; filename=\"model; name=\"\nContent-Type: audio/wav\n\nname=\"model\" --b-1\n--b-1\ncontent-disposition: form-data; name=\"model\"\n\nwhisper-1\n--b-1--\n";
        assert_eq!(read(body).unwrap().as_deref(), Some("whisper-1"));
        assert_eq!(
            read(&body.replace("name=\"model\"\n\nw", "name=model\n\nw")).unwrap().as_deref(),
            Some("whisper-1")
        );
        assert_eq!(read("--b-1\nContent-Disposition: form-data; name=x\n\n\n--b-1--").unwrap(), None);
        let twice = "--b-1\nContent-Disposition: form-data; name=model\n\na\n--b-1\nContent-Disposition: form-data; name=\"model\"\n\nb\n--b-1--";
        assert!(matches!(read(twice), Err(Malformed::Twice(_))));
    }

    #[test]
    fn what_another_parser_may_read_differently_is_refused() {
        let part = "Content-Disposition: form-data; name=\"model\"\n\nm\n";
        for body in [
            "nonsense".to_owned(),
            format!("preamble\n--b-1\n{part}--b-1--"),
            format!("--b-1 \n{part}--b-1--"),
            format!("--b-1\n{part}--b-1 \n{part}--b-1--"),
            format!("--b-1\n{part}--b-1--\n--b-1\n{part}--b-1--"),
            format!("--b-1\n{part}"),
            "--b-1\nno end".to_owned(),
            format!("--b-1\n{}--b-1--", part.replace("; name", ";\n name")),
            format!("--b-1\n{}--b-1--", part.replace("name=\"model\"", "name=x; name=model")),
            format!("--b-1\n{}--b-1--", part.replace("name=", "name*=")),
            format!("--b-1\n{}--b-1--", part.replace("model", "mo\\del")),
            format!("--b-1\nContent-Disposition: form-data; name=x\n{part}--b-1--"),
            format!("--b-1\nContent-Transfer-Encoding: base64\n{part}--b-1--"),
        ] {
            assert!(read(&body).is_err(), "{body}");
        }
        for kind in [
            "multipart/form-data",
            "multipart/form-data; boundary=",
            "multipart/form-data; boundary=a; boundary=b",
        ] {
            assert!(form_model(kind, b"--a--").is_err(), "{kind}");
        }
    }
}
