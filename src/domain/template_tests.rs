use super::*;

const TEMPLATE: &str = r#"version: v1
kind: ServiceTemplate
metadata: {name: "translator-{{ language | lower }}"}
variables:
- {name: language, enum: [French, German]}
- {name: tone, optional: true}
{# a remark #}
container:
  image: meshagent/cli:default
  command: |
    meshagent process join --rule 'translate to {{ language }}{% if tone %}, {{ tone }}{% endif %}'
  environment:
{%- for name in ["A", "B"] %}
  - {name: {{ name }}, value: !template "{{ language }}"}
{%- endfor %}
  storage:
    room: [{path: /data}]
    volumes: [{name: v, path: /v}]
files:
- {path: "x.txt", text: !template "hello {{ language }}"}
"#;

fn values(pairs: &[(&str, &str)]) -> Values {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn texts(problems: Vec<Problem>) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn a_template_is_rendered_read_and_remembers_where_it_came_from() {
    let french = values(&[("language", "French")]);
    let template = render(&Here, "t.yaml", TEMPLATE, &french, Missing::Refused).unwrap();
    assert_eq!(template.metadata.name, "translator-french");
    let container = template.container.as_ref().unwrap();
    assert_eq!(container.command.as_deref(), Some("meshagent process join --rule 'translate to French'\n"));
    let notes = template.metadata.annotations.clone().unwrap();
    assert_eq!(notes[TEMPLATE_YAML], TEMPLATE, "the text before rendering");
    assert_eq!(notes[TEMPLATE_VALUES], r#"{"language": "French"}"#);
    assert_eq!(template.files.as_ref().unwrap()[0].text, "hello French");
    let names: Vec<_> =
        container.environment.iter().flatten().map(|variable| variable.name.as_str()).collect();
    assert_eq!(names, ["A", "B"]);
}

#[test]
fn the_service_keeps_all_but_volumes_and_variables() {
    let service =
        render_service(&Here, "t", TEMPLATE, &values(&[("language", "French")]), Missing::Empty).unwrap();
    let container = service.container.as_ref().unwrap();
    let storage = container.storage.as_ref().unwrap();
    assert_eq!((storage.room.as_ref().map(Vec::len), storage.volumes.as_ref()), (Some(1), None));
    assert_eq!(service.ports, None);
    assert!(service.annotation(TEMPLATE_YAML).is_some());
    let plain = "version: v1\nkind: ServiceTemplate\nmetadata: {name: p}\ncontainer: {image: i}\nexternal: {url: u}\n";
    let service = render_service(&Here, "t", plain, &Values::new(), Missing::Refused).unwrap();
    assert_eq!(
        service.container.unwrap().environment,
        Some(vec![]),
        "an absent environment becomes an empty one"
    );
    assert_eq!(service.external.unwrap().url.as_deref(), Some("u"));
}

#[test]
fn a_missing_value_is_empty_or_named() {
    let template = render(&Here, "t.yaml", TEMPLATE, &Values::new(), Missing::Empty).unwrap();
    assert_eq!(template.metadata.name, "translator-");
    let refused = texts(render(&Here, "t.yaml", TEMPLATE, &Values::new(), Missing::Refused).unwrap_err());
    assert_eq!(
        refused,
        ["t.yaml:3:1: variables.language: the template variable `language` has no value\n  \
         hint: give it with `--value language=…`, or declare it with `optional: true`"]
    );
    let undeclared = "version: v1\nkind: ServiceTemplate\nmetadata: {name: \"{{ who }}\"}\n";
    let refused = texts(render(&Here, "t", undeclared, &Values::new(), Missing::Refused).unwrap_err());
    assert!(
        refused[0].starts_with("t:3:1: variables.who: the template variable `who` has no value"),
        "{refused:?}"
    );
}

#[test]
fn a_value_can_change_the_structure_and_is_not_escaped() {
    let text = "version: v1\nkind: ServiceTemplate\nmetadata:\n  name: {{ name }}\n";
    let injected =
        render(&Here, "t", text, &values(&[("name", "a\n  description: <b>")]), Missing::Empty).unwrap();
    assert_eq!(injected.metadata.description.as_deref(), Some("<b>"));
    let trailing = Here.render("a\n\n", &Values::new()).unwrap();
    assert_eq!(trailing, "a\n", "one newline at the end is dropped");
    let python = Here.render("{{ x.upper() }} {{ x | replace('a', 'o') }}", &values(&[("x", "ab")])).unwrap();
    assert_eq!(python, "AB ob");
}

#[test]
fn what_cannot_be_rendered_or_read_says_why() {
    for (text, part) in [
        ("a: {{ x", "t:1:1: document: the template cannot be rendered"),
        ("kind: ServiceTemplate\nx: {{ a.b.c }}\n", "t:2:1: document: the template cannot be rendered"),
        (
            "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}",
            "cannot be rendered",
        ),
        (
            "version: v1\nkind: Service\nmetadata: {name: s}\n",
            "kind: this is a Service, not a ServiceTemplate",
        ),
        ("version: v1\nkind: ServiceTemplate\nmetadata: {nam: s}\n", "unknown field `nam`"),
        ("a: 1\n---\nb: 2\n", "exactly one document, this text has 2"),
        ("a: ${#list[@]}\n", "hint: `{#` begins a comment"),
    ] {
        let found = texts(render(&Here, "t", text, &Values::new(), Missing::Empty).unwrap_err());
        assert!(found.iter().any(|problem| problem.contains(part)), "{text}: {found:?}");
    }
    let long = Values::from([("v".to_owned(), "x".repeat(1 << 16))]);
    let many = render(&Here, "t", "{% for a in range(9999) %}{{ v }}{% endfor %}", &long, Missing::Empty);
    let found = texts(many.unwrap_err());
    assert!(found[0].contains("the rendered text has more than"), "{found:?}");
    let secret = "version: v1\nkind: ServiceTemplate\nmetadata: {name: s}\ncontainer:\n  image: i\n  environment: [{name: A, secret: {id: x}}]\n";
    let template = render(&Here, "t", secret, &Values::new(), Missing::Refused).unwrap();
    assert!(
        texts(to_service(&template).unwrap_err())[0].contains("`run_as` is required"),
        "only when converting"
    );
    let bare = "version: v1\nkind: ServiceTemplate\nmetadata: {name: s}\ncontainer: {command: x}\n";
    let found = texts(render_service(&Here, "t", bare, &Values::new(), Missing::Refused).unwrap_err());
    assert!(found[0].starts_with("container.image: the field `image` is missing"), "{found:?}");
}

#[test]
fn values_are_written_as_python_writes_json() {
    let text = python_json(&values(&[("a", "ü\"\n"), ("b", "😀")]));
    assert_eq!(text, r#"{"a": "\u00fc\"\n", "b": "\ud83d\ude00"}"#);
    assert_eq!(python_json(&Values::new()), "{}");
}

#[test]
fn a_template_is_known_by_its_kind_line() {
    assert!(is_template("version: v1\nkind: 'ServiceTemplate' # x\n"));
    assert!(!is_template("kind: Service\n  kind: ServiceTemplate\n"));
}

#[test]
fn templates_are_kept_as_they_were_written_beside_other_documents() {
    let template = "version: v1\nkind: ServiceTemplate\nmetadata:\n  name: greeter # plain\ncontainer: {image: !template '{{ image }}'}\n";
    let room = "version: v1\nkind: Room\nmetadata: {name: den}\n";
    let text = format!("# first\n{room}---\n{template}---\n# last\n{}", room.replace("den", "desk"));
    let written =
        read_kept(&[("a.yaml", text.as_str()), ("b.yaml", "version: v1\nkind: Room\nmetadata: {name: b}\n")]);
    let written = written.unwrap();
    let names: Vec<(&str, usize)> = written.iter().map(|one| (one.document.name(), one.line)).collect();
    assert_eq!(names, [("den", 2), ("greeter", 6), ("desk", 13), ("b", 1)]);
    assert_eq!(written[1].value["metadata"]["annotations"][TEMPLATE_YAML], template);

    let refused = |text: &str| {
        let text = format!("{room}---\n{text}");
        let problems = read_kept(&[("a.yaml", text)]).unwrap_err();
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let named = refused("kind: ServiceTemplate\nmetadata:\n  name: greeter-{{ language }}\n");
    assert!(named.starts_with("a.yaml:5:") && named.contains("a name without variables"), "{named}");
    assert!(refused(TEMPLATE).contains("a name without variables"));
    let inline =
        read_kept(&[("a.yaml", "kind: ServiceTemplate\nversion: v1\nmetadata: {name: a, repo: b}\n")]);
    assert_eq!(inline.unwrap()[0].document.name(), "a");
    let broken = refused("kind: ServiceTemplate\nmetadata:\n  name: a\ncontainer:\n  image: {% if %}\n");
    assert!(broken.starts_with("a.yaml:9:") && broken.contains("cannot be rendered"), "{broken}");
    let twice = refused(&format!("{template}---\n{template}"));
    assert!(twice.contains("another ServiceTemplate `greeter` in a.yaml:5"), "{twice}");
}

#[test]
fn a_value_that_is_missing_is_asked_for_as_the_template_does() {
    let text = "version: v1\nkind: ServiceTemplate\nmetadata: {name: a}\n\
                variables: [{name: port, description: Where it listens}]\nports: [{num: {{ port }}}]\n";
    let problems = render_service(&Here, "a", text, &Values::new(), Missing::Refused).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].message.contains("`port` (Where it listens) has no value"), "{problems:?}");
    assert_eq!(problems[0].path, "variables.port");
}

#[test]
fn a_value_is_one_of_those_that_its_variable_may_have() {
    let klingon = values(&[("language", "Klingon")]);
    let refused = texts(render(&Here, "t.yaml", TEMPLATE, &klingon, Missing::Refused).unwrap_err());
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(
        refused[0].contains("values.language") && refused[0].contains("may not be `Klingon`"),
        "{refused:?}"
    );
    assert!(refused[0].contains("French, German"), "{refused:?}");
    // As on the hosted platform, which does not look.
    assert!(render(&Here, "t.yaml", TEMPLATE, &klingon, Missing::Empty).is_ok());
}
