//! Templates rendered in a process of their own.

use meshagent::domain::template::{Here, Render, Values};
use meshagent::rendering::Apart;

const BINARY: &str = env!("CARGO_BIN_EXE_meshagent");

fn values(pairs: &[(&str, &str)]) -> Values {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn a_template_is_rendered_as_it_would_be_here() {
    let apart = Apart::new(BINARY.into());
    let long = "é".repeat(100_000);
    let values = values(&[("name", "ann"), ("long", &long)]);
    for text in [
        "plain",
        "",
        "hello {{ name | upper }}\n",
        "{{ long }}",
        "{% for",
        "{{ name.nothing() }}",
        "{{ missing }}",
    ] {
        assert_eq!(apart.render(text, &values), Here.render(text, &values), "{text}");
    }
}

/// Each would use up the memory of the machine: the texts double with every step.
#[test]
fn a_template_that_takes_all_memory_takes_only_its_own() {
    let apart = Apart::new(BINARY.into());
    let doubled = "{% set a = a ~ a %}".repeat(40);
    let blocks = "{% set a %}{{ a }}{{ a }}{% endset %}".repeat(40);
    for bomb in [format!("{{% set a = 'ab' %}}{doubled}"), format!("{{% set a = 'ab' %}}{blocks}")] {
        let refused = apart.render(&bomb, &Values::new()).unwrap_err();
        assert_eq!(refused.message, "the template takes more than 256 MiB of memory");
        assert_eq!(
            apart.render("{{ a }}", &values(&[("a", "b")])).unwrap(),
            "b",
            "others are rendered as before"
        );
    }
}

#[test]
fn many_are_rendered_at_once() {
    let apart = Apart::new(BINARY.into());
    std::thread::scope(|scope| {
        for n in 0..16 {
            let apart = &apart;
            scope.spawn(move || {
                let number = n.to_string();
                for _ in 0..20 {
                    assert_eq!(apart.render("{{ n }}", &values(&[("n", &number)])).unwrap(), number);
                }
            });
        }
    });
}

#[test]
fn without_a_program_that_renders_nothing_is() {
    let refused = Apart::new("/nonexistent/meshagent".into()).render("x", &Values::new()).unwrap_err();
    assert_eq!(refused.message, "the server cannot render templates now");
}
