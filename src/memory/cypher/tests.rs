//! The subset: what is answered, what is refused and where, and what is stopped.

use super::graph::{Edge, Node};
use super::value::Map;
use super::*;
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

fn properties(json: &Json) -> Arc<Map> {
    let entries = json.as_object().unwrap().iter();
    let entries =
        entries.map(|(k, v)| (k.clone(), Value::from_plain(v).unwrap())).collect::<BTreeMap<_, _>>();
    Arc::new(Map::new(entries).unwrap())
}

/// Ada knows Bob knows Cy knows Ada; Ada works at Acme; a table of drinks.
fn graph() -> Graph {
    let mut graph = Graph::default();
    let people =
        [("ada", 36, "PERSON"), ("bob", 40, "PERSON"), ("cy", 7, "PERSON"), ("acme", 100, "ORGANIZATION")];
    for (name, age, kind) in people {
        let properties = properties(&json!({
            "entity_id": name, "name": name, "entity_type": kind, "age": age, "note": null, "metadata": {"k": name},
        }));
        let labels = vec!["Entity".into(), kind.into()];
        graph.add_node(Node { id: name.into(), labels, properties }, true).unwrap();
    }
    for drink in ["tea", "coffee"] {
        let node = Node {
            id: drink.into(),
            labels: vec!["Drink".into()],
            properties: properties(&json!({"name": drink})),
        };
        graph.add_node(node, false).unwrap();
    }
    for (from, to, kind) in [(0, 1, "KNOWS"), (1, 2, "KNOWS"), (2, 0, "KNOWS"), (0, 3, "WORKS_AT")] {
        let id: Arc<str> = format!("{kind}-{from}-{to}").into();
        let properties = properties(&json!({"relationship_type": kind, "since": 2000 + from}));
        graph.add_edge(Edge { id, kind: kind.into(), from, to, properties }).unwrap();
    }
    graph
}

fn ask(statement: &str) -> Result<Json, QueryError> {
    let rows = run(statement, &graph(), &AtomicBool::new(false))?;
    let plain = |value: Json| match value {
        Json::Object(fields) => fields.into_iter().next().map_or(Json::Null, |(_, inner)| inner),
        other => other,
    };
    Ok(rows.into_iter().map(|row| Json::Array(row.into_iter().map(|(_, v)| plain(v)).collect())).collect())
}

#[track_caller]
fn answers(statement: &str, rows: Json) {
    match ask(statement) {
        Ok(found) => assert_eq!(found, rows, "{statement}"),
        Err(error) => panic!("{statement}: {error}"),
    }
}

#[track_caller]
fn refuses(statement: &str, text: &str) {
    match ask(statement) {
        Ok(rows) => panic!("{statement} answered {rows}"),
        Err(error) => assert!(error.to_string().contains(text), "{statement}: {error}"),
    }
}

#[test]
fn patterns() {
    answers("MATCH (n) RETURN count(*)", json!([[4]]));
    answers(
        "MATCH (e:Entity) WHERE e.entity_type = 'PERSON' RETURN e.name ORDER BY e.name LIMIT 2",
        json!([["ada"], ["bob"]]),
    );
    answers("match (p:person {name: 'bob'}) return p.age", json!([[40]]));
    answers("MATCH (d:Drink) RETURN d.name AS name ORDER BY name DESC", json!([["tea"], ["coffee"]]));
    answers("MATCH (n:Nobody) RETURN n", json!([]));
    answers("MATCH (n:PERSON|ORGANIZATION) RETURN count(n)", json!([[4]]));
    answers("MATCH (n:Entity:PERSON) RETURN count(n)", json!([[3]]));
    answers(
        "MATCH (a)-[:KNOWS]->(b) RETURN a.name, b.name ORDER BY a.name",
        json!([["ada", "bob"], ["bob", "cy"], ["cy", "ada"]]),
    );
    answers("MATCH (a)<-[r:KNOWS]-(b {name: 'ada'}) RETURN a.name, type(r)", json!([["bob", "KNOWS"]]));
    answers("MATCH (a {name: 'ada'})--(b) RETURN b.name ORDER BY b.name", json!([["acme"], ["bob"], ["cy"]]));
    answers("MATCH (a)-[r:RELATIONSHIP]->(b) RETURN count(r)", json!([[4]]));
    answers("MATCH (a)-[r:KNOWS|WORKS_AT]->(b) RETURN count(r)", json!([[4]]));
    answers("MATCH (a)-[r {since: 2001}]->(b) RETURN b.name", json!([["cy"]]));
    answers("MATCH (a)-->(b)-->(c) RETURN count(*)", json!([[4]]));
    answers("MATCH (a:PERSON), (b:ORGANIZATION) RETURN count(*)", json!([[3]]));
    answers("MATCH (a {name: 'ada'})-[:KNOWS*2]->(b) RETURN b.name", json!([["cy"]]));
    answers("MATCH (a {name: 'ada'})-[:KNOWS*1..3]->(b) RETURN b.name", json!([["bob"], ["cy"], ["ada"]]));
    answers("MATCH (a {name: 'ada'})-[:KNOWS*0..1]->(b) RETURN b.name", json!([["ada"], ["bob"]]));
    answers("MATCH (a {name: 'ada'})-[rs:KNOWS*]->(b) RETURN size(rs)", json!([[1], [2], [3]]));
    answers(
        "MATCH p = (a {name: 'ada'})-[:KNOWS*2]->(b) RETURN length(p), [n IN nodes(p) | n.name]",
        json!([[2, ["ada", "bob", "cy"]]]),
    );
    answers(
        "MATCH p = (a {name: 'ada'})-[r]->(b:PERSON) RETURN length(p), startNode(r).name, id(r)",
        json!([[1, "ada", "KNOWS-0-1"]]),
    );
}

#[test]
fn optional_matches_keep_the_row() {
    answers(
        "MATCH (p:PERSON) OPTIONAL MATCH (p)-[:WORKS_AT]->(o) RETURN p.name, o.name ORDER BY p.name",
        json!([["ada", "acme"], ["bob", null], ["cy", null]]),
    );
    answers("OPTIONAL MATCH (n:Nobody) RETURN n", json!([[null]]));
    answers("OPTIONAL MATCH (n:Nobody) MATCH (n)-->(m) RETURN m", json!([]));
}

#[test]
fn conditions() {
    answers("MATCH (n) WHERE n.age >= 36 AND NOT n.name = 'acme' RETURN count(*)", json!([[2]]));
    answers("MATCH (n) WHERE n.name STARTS WITH 'a' XOR n.age > 50 RETURN n.name", json!([["ada"]]));
    answers("MATCH (n) WHERE n.name ENDS WITH 'b' OR n.name CONTAINS 'y' RETURN count(*)", json!([[2]]));
    answers("MATCH (n) WHERE n.name IN ['bob', 'cy'] RETURN count(*)", json!([[2]]));
    answers("MATCH (n) WHERE n.note IS NULL AND n.age IS NOT NULL RETURN count(*)", json!([[4]]));
    answers("MATCH (n) WHERE n.note = 1 OR n.missing <> 1 RETURN count(*)", json!([[0]]));
    answers("MATCH (n) WHERE n.name =~ 'A.*' RETURN n.name", json!([]));
    answers("MATCH (n) WHERE n.name =~ '(?i)A.a' RETURN n.name", json!([["ada"]]));
    answers("MATCH (n) WHERE n:ORGANIZATION RETURN n.name", json!([["acme"]]));
    answers("MATCH (n) WHERE (n)-[:WORKS_AT]->() RETURN n.name", json!([["ada"]]));
    answers("MATCH (n:PERSON) WHERE NOT exists((n)-[:WORKS_AT]->()) RETURN count(*)", json!([[2]]));
    answers("MATCH (n) WHERE 30 < n.age < 50 RETURN count(*)", json!([[2]]));
    answers("MATCH (n) WHERE (n.age - 6) = 1 RETURN n.name", json!([["cy"]]));
    answers("MATCH (n) WHERE n.metadata.k = 'cy' RETURN n.metadata['k']", json!([["cy"]]));
    answers("MATCH (n) WHERE any(x IN [n] WHERE (x)-[:WORKS_AT]->()) RETURN n.name", json!([["ada"]]));
}

#[test]
fn projections() {
    answers(
        "RETURN 1 + 2 * 3 AS x, 'a' + 1, 7 / 2, 7.0 / 2, 2 ^ 3, -5 % 3",
        json!([[7, "a1", 3, 3.5, 8.0, -2]]),
    );
    answers(
        "MATCH (n) RETURN n.entity_type AS kind, count(*) AS n ORDER BY n DESC",
        json!([["PERSON", 3], ["ORGANIZATION", 1]]),
    );
    answers(
        "MATCH (n:PERSON) RETURN sum(n.age), avg(n.age), min(n.name), max(n.age)",
        json!([[83, 83.0 / 3.0, "ada", 40]]),
    );
    answers(
        "MATCH (n) WITH n ORDER BY n.name DESC RETURN collect(n.name)",
        json!([[["cy", "bob", "ada", "acme"]]]),
    );
    answers("MATCH (n) RETURN count(DISTINCT n.entity_type)", json!([[2]]));
    answers(
        "MATCH (n) RETURN DISTINCT n.entity_type ORDER BY n.entity_type",
        json!([["ORGANIZATION"], ["PERSON"]]),
    );
    answers(
        "MATCH (n:Nobody) RETURN count(n), collect(n), sum(n.age), avg(n.age)",
        json!([[0, [], 0, null]]),
    );
    answers("MATCH (n:Nobody) RETURN n.name, count(n)", json!([]));
    answers("MATCH (n) RETURN n.name ORDER BY n.age SKIP 1 LIMIT 1 + 1", json!([["ada"], ["bob"]]));
    answers("MATCH (a)-->(b) WITH a, count(b) AS n WHERE n > 1 RETURN a.name, n", json!([["ada", 2]]));
    answers("UNWIND [3, 1, null, 2] AS x RETURN x ORDER BY x", json!([[1], [2], [3], [null]]));
    answers("UNWIND [3, 1, null] AS x RETURN x ORDER BY x DESC", json!([[null], [3], [1]]));
    answers("MATCH (n {name: 'cy'}) WITH *, n.age AS age RETURN age, n.name", json!([[7, "cy"]]));
    answers("WITH 1 AS a, 2 AS b RETURN *", json!([[1, 2]]));
    answers("RETURN count(*) + 1", json!([[2]]));
    let rows =
        run("MATCH (n {name: 'cy'}) RETURN n, n.name, n.age AS Age", &graph(), &AtomicBool::new(false))
            .unwrap();
    let names: Vec<&str> = rows[0].iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["n", "n.name", "Age"]);
    assert_eq!(rows[0][0].1["struct"]["metadata"], json!({"struct": {"k": "cy"}}));
}

#[test]
fn expressions() {
    answers("RETURN CASE WHEN size([1]) = 0 THEN '' WHEN true THEN 'b' ELSE 'c' END", json!([["b"]]));
    answers(
        "RETURN CASE 2 WHEN 1 THEN 'a' WHEN 2 THEN 'b' END, CASE 3 WHEN 1 THEN 2 END",
        json!([["b", null]]),
    );
    answers(
        "MATCH (n {name: 'ada'}) RETURN labels(n)[0], labels(n)[-1], coalesce(n.note, tostring(id(n)))",
        json!([["Entity", "PERSON", "ada"]]),
    );
    answers(
        "RETURN [1, 2, 3][1..], [1, 2, 3][..-1], [x IN range(1, 5) WHERE x % 2 = 0 | x * x]",
        json!([[[2, 3], [1, 2], [4, 16]]]),
    );
    answers(
        "RETURN all(x IN [1] WHERE x > 0), none(x IN [] WHERE x), single(x IN [1, 2] WHERE x = 1)",
        json!([[true, true, true]]),
    );
    answers(
        "RETURN toUpper('aß'), split('a,b', ','), substring('hello', 1, 3), left('ab', 1), reverse('ab'), trim(' a ')",
        json!([["ASS", ["a", "b"], "ell", "a", "ba", "a"]]),
    );
    answers(
        "RETURN toInteger('12'), toInteger('x'), toFloat('1.5'), toBoolean('TRUE'), toString(1.0), round(1.5), abs(-2)",
        json!([[12, null, 1.5, true, "1.0", 2.0, 2]]),
    );
    answers(
        "RETURN null = null, null IN [1], 1 IN [1, null], 2 IN [1, null], NOT null, 1 = 1.0, 'a' < 1",
        json!([[null, null, true, null, null, true, null]]),
    );
    answers(
        "RETURN false AND null, true OR null, true XOR null, [1, null] = [1, 2]",
        json!([[false, true, null, null]]),
    );
}

#[test]
fn quoting_and_comments() {
    answers("RETURN 'it\\'s \\u00e9' AS `a b` /* note */ // end\n;", json!([["it's é"]]));
    answers("MATCH (`n`:`Drink`) RETURN count(`n`)", json!([[2]]));
}

#[test]
fn refusals_say_where_and_what() {
    refuses("", "line 1, column 1: the statement is empty");
    refuses("CREATE (n)", "line 1, column 1: CREATE is not supported: queries only read; upsert_nodes");
    refuses("MATCH (n)\n  DELETE n", "line 2, column 3: DELETE is not supported");
    refuses("SELECT * FROM Entity", "SELECT is not supported; supported are MATCH");
    refuses("MATCH (n)", "line 1, column 10: the query ends without RETURN");
    refuses("MATCH (n RETURN n", "column 10: `RETURN` where `)` is expected");
    refuses("MATCH (n) RETURN m", "column 18: there is no `m` here; there are: n");
    refuses("MATCH (n) RETURN foo(n)", "column 18: there is no function `foo`; there are: id,");
    refuses("RETURN size()", "takes 1 arguments and got 0");
    refuses("RETURN $x", "column 8: parameters are not supported");
    refuses("MATCH (n) WHERE count(n) > 1 RETURN n", "`count` stands only in WITH, RETURN");
    refuses("MATCH (n) RETURN count(count(n))", "not within another");
    refuses("MATCH (n) RETURN n.name, count(*) ORDER BY n.age", "`n` is no column");
    refuses("MATCH (n) RETURN n.age + count(*)", "`n` stands beside an aggregate");
    refuses("MATCH (n) WITH n.name RETURN 1", "needs a name; add AS");
    refuses("MATCH (n) RETURN n.name, n.name", "two columns are named `n.name`");
    refuses("RETURN 1 UNION RETURN 2", "column 10: UNION is not supported");
    refuses("MATCH shortestPath((a)-[*]->(b)) RETURN a", "`shortestPath` is not supported in a pattern");
    refuses("MATCH (a)-[*1..99]->(b) RETURN a", "at most 32 hops");
    refuses("MATCH (a)-[*3..1]->(b) RETURN a", "ends before it begins");
    refuses("MATCH (n) WHERE n.name RETURN n", "a condition is needed here, not text");
    refuses("RETURN 'a' =~ '('", "the pattern after =~ is not one");
    refuses("RETURN 1 / 0", "division by zero");
    refuses("RETURN 9223372036854775807 + 1", "does not fit 64 bits");
    refuses("RETURN 'open", "column 8: the text is not closed");
    refuses("RETURN 1 != 2", "unequal is written <>");
    refuses("RETURN [1, 2].x", "a list has no properties");
    refuses("MATCH (n) RETURN n LIMIT -1", "cannot be negative");
    refuses("MATCH (n) WHERE (n)-->(m) RETURN n", "a path in a condition makes no names");
    refuses("UNWIND 1 AS x RETURN x", "UNWIND needs a list");
    refuses("RETURN `x`.a", "there is no `x` here; no names are in scope");
}

#[test]
fn runaways_are_stopped() {
    refuses(&format!("RETURN {}1{}", "(".repeat(200), ")".repeat(200)), "nested more than 32 deep");
    refuses(&format!("RETURN 1{}", " + 1".repeat(300)), "nested more than 100 deep");
    refuses(&format!("RETURN '{}'", "x".repeat(STATEMENT_BYTES_MAX)), "at most 65536 bytes");
    let or = (0..500).map(|n| format!("n.age = {n}")).collect::<Vec<_>>().join(" OR ");
    answers(&format!("MATCH (n) WHERE {or} RETURN count(*)"), json!([[4]]));
    let doubling = " WITH l + l AS l".repeat(40);
    refuses(&format!("WITH range(1, 1000) AS l{doubling} RETURN size(l)"), "more than 100000 values");
    let nesting = " WITH [l, l] AS l".repeat(40);
    refuses(&format!("WITH [1] AS l{nesting} RETURN l"), "more than 100000 values");
    let text = " WITH s + s AS s".repeat(60);
    refuses(&format!("WITH 'abc' AS s{text} RETURN size(s)"), "bytes of text");
    let cross =
        "UNWIND range(1, 1000) AS a UNWIND range(1, 1000) AS b UNWIND range(1, 1000) AS c RETURN count(*)";
    refuses(cross, "more than 500000 rows");
    let filtered =
        "MATCH (a),(b),(c),(d),(e),(f),(g),(h),(i),(j),(k),(l),(m) WHERE a.age < 0 RETURN count(*)";
    refuses(filtered, "more than 20000000 steps");
    let cancelled = run(filtered, &graph(), &AtomicBool::new(true));
    assert_eq!(cancelled, Err(QueryError::Cancelled));
}

#[test]
fn a_path_without_an_end_is_never_cut_short() {
    let mut graph = Graph::default();
    for n in 0..50_u32 {
        let node =
            Node { id: n.to_string().into(), labels: vec![], properties: properties(&json!({"n": n})) };
        let number = graph.add_node(node, true).unwrap();
        if number > 0 {
            let edge = Edge {
                id: n.to_string().into(),
                kind: "NEXT".into(),
                from: number - 1,
                to: number,
                properties: properties(&json!({})),
            };
            graph.add_edge(edge).unwrap();
        }
    }
    let ask = |statement: &str| run(statement, &graph, &AtomicBool::new(false));
    let error = ask("MATCH (a {n: 0})-[*]->(b) RETURN count(*)").unwrap_err().to_string();
    assert!(error.contains("longer than 32 hops"), "{error}");
    assert_eq!(ask("MATCH (a {n: 0})-[*..32]->(b) RETURN count(*)").unwrap()[0][0].1, json!(32));
    assert_eq!(ask("MATCH (a {n: 30})-[*]->(b) RETURN count(*)").unwrap()[0][0].1, json!(19));
}

proptest! {
    #[test]
    fn any_text_is_answered_or_refused(statement in "\\PC{0,60}") {
        let _ = ask(&statement);
    }

    #[test]
    fn any_tokens_are_answered_or_refused(words in prop::collection::vec(prop::sample::select(vec![
        "MATCH", "OPTIONAL", "WHERE", "RETURN", "WITH", "UNWIND", "AS", "ORDER", "BY", "LIMIT", "SKIP", "DISTINCT",
        "(", ")", "[", "]", "{", "}", "n", "m", ":Entity", ":KNOWS", "-", "->", "<-", "--", "*", "..", "1", "2.5", "'x'",
        ",", ".", "=", "<>", "<", "AND", "OR", "NOT", "IN", "IS", "NULL", "count", "collect", "size", "CASE", "WHEN",
        "THEN", "END", "|", "+", "=~", "any", "exists", "n.name", "(n)", "(m)", "RETURN n", "MATCH (n)",
    ]), 0..24)) {
        let _ = ask(&words.join(" "));
    }
}
