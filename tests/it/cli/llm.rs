//! Providers, budgets and usage of models.

use super::Person;
use crate::support::server::Server;
use serde_json::json;

#[test]
fn providers_and_budgets_are_set_shown_and_forgotten() {
    let server = Server::start(&[]);
    let person = Person::of(&server).with("OPENAI_API_KEY", "sk-needle").with("OTHER", "sk-needle");
    let llm = |words: &[&str]| person.run(&[&["llm"][..], words].concat());
    llm(&["provider", "get", "openai"]).fails(1, &["no settings `openai`"]);
    llm(&["provider", "set", "openai"]).ok();
    assert_eq!(llm(&["provider", "get", "openai"]).json(), json!({"api_key": "********"}));
    let url = "https://models.example.com/v1";
    llm(&["provider", "set", "grok", "--key-env", "OTHER", "--base-url", url]).ok();
    assert_eq!(llm(&["provider", "get", "grok"]).json(), json!({"api_key": "********", "base_url": url}));
    llm(&["provider", "set", "anthropic"]).fails(1, &["ANTHROPIC_API_KEY is not set", "--key-env"]);
    llm(&["provider", "set", "anthropic", "--no-key"]).fails(2, &["--base-url"]);
    llm(&["provider", "set", "anthropic", "--no-key", "--base-url", "file:///x"]).fails(1, &["http"]);
    llm(&["provider", "set", "nobody"]).fails(2, &["nobody"]);
    llm(&["provider", "delete", "openai"]).ok();
    llm(&["provider", "delete", "openai"]).fails(1, &["not set"]);

    let file = server.data_dir().join("budgets.yaml");
    std::fs::write(&file, "limits:\n- {per: day, tokens: 10, each: user}\n").unwrap();
    let path = file.to_str().unwrap();
    llm(&["budgets", "set", path]).ok();
    let limits = json!({"limits": [{"per": "day", "tokens": 10, "each": "user"}]});
    assert_eq!(llm(&["budgets", "get"]).json(), limits);
    std::fs::write(&file, "limits:\n- {per: week, tokens: 10}\n").unwrap();
    llm(&["budgets", "set", path]).fails(1, &["limits[0].per"]);
    llm(&["budgets", "delete"]).ok();

    assert_eq!(llm(&["usage"]).ok().stderr, "No models were used.\n");
    assert_eq!(llm(&["usage", "--interval", "day", "-o", "json"]).json(), json!({"usage": []}));
    llm(&["usage", "--provider", "nobody"]).fails(1, &["no provider `nobody`"]);
}
