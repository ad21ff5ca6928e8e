//! Who may read a site's files from a page of another origin.

use crate::spec::CorsRule;
use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};

/// The rule for whoever asks, with the origin to name in the answer.
fn rule<'r>(rules: &'r [CorsRule], asked: &HeaderMap) -> Option<(&'r CorsRule, HeaderValue)> {
    let origin = asked.get(header::ORIGIN)?;
    let text = origin.to_str().ok()?;
    let any = |rule: &&CorsRule| rule.allowed_origins.iter().any(|allowed| allowed == "*");
    let named =
        |rule: &&CorsRule| rule.allowed_origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(text));
    let exact = rules.iter().find(named).map(|rule| (rule, origin.clone()));
    exact.or_else(|| rules.iter().find(any).map(|rule| (rule, HeaderValue::from_static("*"))))
}

/// The headers of an answer to a request that was carried out.
pub fn headers(rules: &[CorsRule], parts: &Parts) -> HeaderMap {
    let mut map = HeaderMap::new();
    if rules.is_empty() {
        return map;
    }
    map.insert(header::VARY, HeaderValue::from_static("Origin"));
    let Some((rule, origin)) = rule(rules, &parts.headers) else { return map };
    if !rule.allowed_methods.iter().any(|method| method == parts.method.as_str()) {
        return map;
    }
    map.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    put(&mut map, header::ACCESS_CONTROL_EXPOSE_HEADERS, &rule.expose_headers);
    if rule.allow_credentials {
        map.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    map
}

/// The answer to a browser that asks first; `None` where this is no such question.
pub fn preflight(rules: &[CorsRule], parts: &Parts) -> Option<Response<Body>> {
    if parts.method != Method::OPTIONS {
        return None;
    }
    let wanted = parts.headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?.to_str().ok()?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let map = response.headers_mut();
    let vary = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
    map.insert(header::VARY, HeaderValue::from_static(vary));
    if let Some((rule, origin)) = rule(rules, &parts.headers)
        && rule.allowed_methods.iter().any(|method| method == wanted)
    {
        map.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        map.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from(rule.max_age_seconds));
        put(map, header::ACCESS_CONTROL_ALLOW_METHODS, &rule.allowed_methods);
        put(map, header::ACCESS_CONTROL_ALLOW_HEADERS, &rule.allowed_headers);
        if rule.allow_credentials {
            map.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }
    Some(response)
}

fn put(map: &mut HeaderMap, name: HeaderName, list: &[String]) {
    if let Some(value) = Some(list.join(", ")).filter(|text| !text.is_empty())
        && let Ok(value) = HeaderValue::from_str(&value)
    {
        map.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;
    use serde_json::json;

    fn rules() -> Vec<CorsRule> {
        let rules = json!([
            {"allowedOrigins": ["https://a.b"], "allowedHeaders": ["X-A"], "exposeHeaders": ["X-B"],
             "allowCredentials": true, "maxAgeSeconds": 9},
            {"allowedOrigins": ["*"]},
        ]);
        serde_json::from_value(rules).unwrap()
    }

    fn parts(method: Method, origin: &str, wants: Option<&str>) -> Parts {
        let mut request = Request::builder().method(method).header("origin", origin);
        if let Some(method) = wants {
            request = request.header("access-control-request-method", method);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn the_rule_of_the_origin_is_told() {
        let own = headers(&rules(), &parts(Method::GET, "https://a.b", None));
        assert_eq!(own[header::ACCESS_CONTROL_ALLOW_ORIGIN], "https://a.b");
        assert_eq!(own[header::ACCESS_CONTROL_EXPOSE_HEADERS], "X-B");
        assert_eq!(own[header::ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
        let any = headers(&rules(), &parts(Method::GET, "https://evil", None));
        assert_eq!(any[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert!(!any.contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS));
        let none = headers(&rules()[..1], &parts(Method::GET, "https://evil", None));
        assert!(!none.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
        assert_eq!(none[header::VARY], "Origin");
        assert!(headers(&[], &parts(Method::GET, "https://a.b", None)).is_empty());
    }

    #[test]
    fn a_browser_that_asks_first_is_told() {
        let asked = preflight(&rules(), &parts(Method::OPTIONS, "https://a.b", Some("GET"))).unwrap();
        assert_eq!(asked.headers()[header::ACCESS_CONTROL_MAX_AGE], "9");
        assert_eq!(asked.headers()[header::ACCESS_CONTROL_ALLOW_HEADERS], "X-A");
        let refused = preflight(&rules(), &parts(Method::OPTIONS, "https://a.b", Some("DELETE"))).unwrap();
        assert!(!refused.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
        assert!(preflight(&rules(), &parts(Method::OPTIONS, "https://a.b", None)).is_none());
        assert!(preflight(&rules(), &parts(Method::GET, "https://a.b", Some("GET"))).is_none());
    }
}
