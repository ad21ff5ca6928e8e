//! Filters over records (JMESPath), held to shapes that take time and room by the length of the record: who may set one may
//! not hold up the server by it.

use crate::domain::llm_logger::FILTER_BYTES_MAX;
use jmespath::ast::Ast;
use jmespath::{Context, DEFAULT_RUNTIME, Rcvar, Variable};
use serde_json::Value;

/// Most operators, brackets and commas of one; an expression is no deeper than it has of them.
const SIGNS_MAX: usize = 128;
/// Most lists and objects that an expression makes, and most members of one.
const MADE_MAX: usize = 8;
const MEMBERS_MAX: usize = 32;
const PATHS_MAX: usize = 8;
/// Greatest place in a list.
const PLACE_MAX: u32 = 1_000_000;
/// Functions whose answer is no longer than what they are given.
const FUNCTIONS: [&str; 23] = [
    "abs",
    "avg",
    "ceil",
    "contains",
    "ends_with",
    "floor",
    "keys",
    "length",
    "map",
    "max",
    "max_by",
    "min",
    "min_by",
    "not_null",
    "reverse",
    "sort",
    "sort_by",
    "starts_with",
    "sum",
    "to_array",
    "to_number",
    "type",
    "values",
];

/// An expression over records.
#[derive(Debug)]
pub struct Filter(Option<(String, Ast)>);

/// A record as filters look at it.
#[derive(Debug)]
pub struct Looked(Option<Rcvar>);

impl Looked {
    /// Takes a while where the record is long.
    #[must_use]
    pub fn new(record: &Value) -> Self {
        Self(Variable::from_serializable(record).ok().map(Rcvar::new))
    }
}

impl Filter {
    /// Reads an expression; an empty one lets all through. Says what is wrong with it.
    pub fn compile(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(Self(None));
        }
        if text.len() > FILTER_BYTES_MAX {
            return Err(format!("it has more than {FILTER_BYTES_MAX} bytes"));
        }
        // Before it is parsed: parsers go down as deep as the text does.
        if signs(text) > SIGNS_MAX {
            return Err(format!("it has more than {SIGNS_MAX} operators, brackets and commas"));
        }
        let read = jmespath::parse(text).map_err(|error| error.to_string())?;
        Shape::default().check(&read, false)?;
        Ok(Self(Some((text.to_owned(), read))))
    }

    /// Whether the record is told of: what the expression finds is true, or not empty.
    #[must_use]
    pub fn lets_through(&self, record: &Looked) -> bool {
        let Some((text, ast)) = &self.0 else { return true };
        let Some(record) = &record.0 else { return false };
        let found = jmespath::interpret(record, ast, &mut Context::new(text, &DEFAULT_RUNTIME));
        found.is_ok_and(|found| found.is_truthy())
    }
}

/// Counts what is neither a name, nor a number, nor within quotation marks.
fn signs(text: &str) -> usize {
    let (mut count, mut within, mut escaped) = (0, None, false);
    for sign in text.chars() {
        match within {
            Some(_) if escaped => escaped = false,
            Some(_) if sign == '\\' => escaped = true,
            Some(mark) if sign == mark => within = None,
            Some(_) => {}
            None if matches!(sign, '\'' | '"' | '`') => within = Some(sign),
            None if sign.is_alphanumeric() || sign.is_whitespace() || matches!(sign, '_' | '-') => {}
            None => count += 1,
        }
    }
    count
}

/// What an expression is made of so far.
#[derive(Debug, Default)]
struct Shape {
    made: usize,
}

impl Shape {
    /// Within a projection a part is looked at for every element.
    fn check(&mut self, ast: &Ast, each: bool) -> Result<(), String> {
        match ast {
            Ast::Identity { .. } | Ast::Field { .. } | Ast::Literal { .. } => Ok(()),
            Ast::Index { idx, .. } => place(Some(*idx)),
            Ast::Slice { start, stop, step, .. } => {
                [*start, *stop, Some(*step)].into_iter().try_for_each(place)
            }
            Ast::Expref { ast: node, .. } => self.check(node, true),
            Ast::Not { node, .. } | Ast::Flatten { node, .. } | Ast::ObjectValues { node, .. } => {
                self.check(node, each)
            }
            Ast::Projection { lhs, rhs, .. } => {
                self.check(lhs, each)?;
                self.check(rhs, true)
            }
            Ast::Comparison { lhs: one, rhs: other, .. }
            | Ast::Condition { predicate: one, then: other, .. }
            | Ast::And { lhs: one, rhs: other, .. }
            | Ast::Or { lhs: one, rhs: other, .. }
            | Ast::Subexpr { lhs: one, rhs: other, .. } => {
                self.check(one, each)?;
                self.check(other, each)
            }
            Ast::Function { name, args, .. } => {
                if !FUNCTIONS.contains(&name.as_str()) {
                    let name: String = name.chars().take(40).collect();
                    return Err(format!(
                        "filters have no function `{name}`; they have {}",
                        FUNCTIONS.join(", ")
                    ));
                }
                args.iter().try_for_each(|argument| self.check(argument, each))
            }
            Ast::MultiList { elements, .. } => self.made(elements.iter(), each),
            Ast::MultiHash { elements, .. } => self.made(elements.iter().map(|pair| &pair.value), each),
        }
    }

    /// A list or an object that the expression makes: what it has twice could be doubled again and again.
    fn made<'a>(
        &mut self,
        members: impl ExactSizeIterator<Item = &'a Ast>,
        each: bool,
    ) -> Result<(), String> {
        self.made += 1;
        if self.made > MADE_MAX || members.len() > MEMBERS_MAX {
            return Err(format!(
                "it makes more than {MADE_MAX} lists, or one of more than {MEMBERS_MAX} members"
            ));
        }
        let mut paths = 0;
        for member in members {
            match member {
                Ast::Literal { .. } => {}
                path if !each && is_path(path) => paths += 1,
                _ if each => {
                    return Err(
                        "a list that it makes for every element has values that are not written there"
                            .to_owned(),
                    );
                }
                _ => {
                    return Err(
                        "a list that it makes may have written values and plain paths only".to_owned()
                    );
                }
            }
        }
        if paths > PATHS_MAX {
            return Err(format!("a list that it makes has more than {PATHS_MAX} paths"));
        }
        Ok(())
    }
}

/// A place in a list; with large ones its arithmetic overflows.
fn place(of: Option<i32>) -> Result<(), String> {
    match of {
        Some(of) if of.unsigned_abs() > PLACE_MAX => Err(format!("a place in a list is beyond {PLACE_MAX}")),
        _ => Ok(()),
    }
}

/// `usage.input_tokens`, `response[0].type`
fn is_path(ast: &Ast) -> bool {
    match ast {
        Ast::Field { .. } => true,
        Ast::Subexpr { lhs, rhs, .. } => is_path(lhs) && (is_path(rhs) || matches!(**rhs, Ast::Index { .. })),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn filters_are_read_and_asked() {
        let record = json!({"model": "gpt-4", "usage": {"input_tokens": 5, "output_tokens": 15, "total_tokens": 20},
            "status": 200, "annotations": {"team": "a"}, "response": [{"type": "x"}, {"type": "y"}]});
        let record = Looked::new(&record);
        for (text, want) in [
            ("", true),
            ("model == 'gpt-4'", true),
            ("model == 'o3'", false),
            ("starts_with(model, 'gpt-') && usage.total_tokens > `10`", true),
            ("contains(['gpt-4', 'o3'], model) || contains(`[\"a\"]`, annotations.team)", true),
            ("sum([usage.input_tokens, usage.output_tokens, response[0].count]) > `100`", false),
            ("sum([usage.input_tokens, usage.output_tokens]) == `20`", true),
            ("response[?type == 'y' && contains(['x', 'y'], type)]", true),
            ("response[*].type | sort(@) | [0] == 'x'", true),
            ("nothing", false),
            ("length(`1`)", false),
        ] {
            assert_eq!(Filter::compile(text).unwrap().lets_through(&record), want, "{text}");
        }
    }

    #[test]
    fn expressions_that_could_hold_up_the_server_are_refused() {
        let doubled = vec!["[@,@]"; 30].join("|");
        let named = vec!["{x:{a:x,b:x}}"; 20].join("|");
        let flattened = ["[a,a][]"; 9].join("|");
        for (bad, why) in [
            ("model ==", "Parse"),
            ("[", "Parse"),
            ("a b", "Parse"),
            (&"(".repeat(600), "more than 128 operators"),
            (&"!".repeat(600), "more than 128 operators"),
            (&"[".repeat(600), "more than 128 operators"),
            (&"{a:".repeat(300), "more than 128 operators"),
            (&vec!["a"; 300].join("."), "more than 128 operators"),
            (&vec!["a"; 300].join("||"), "more than 128 operators"),
            (&"a".repeat(FILTER_BYTES_MAX + 1), "more than 1024 bytes"),
            (&"(".repeat(1_000_000), "more than 1024 bytes"),
            (&doubled, "operators"),
            ("[@,@]|[@,@]|[@,@]", "plain paths"),
            (&named, "operators"),
            ("{x:{a:x,b:x}}|{x:{a:x,b:x}}", "plain paths"),
            (&flattened, "more than 8 lists"),
            ("[[a,a],[a,a]]", "plain paths"),
            ("response[*].[type, type]", "for every element"),
            ("map(&{a: @}, response)", "for every element"),
            ("to_string(to_string(to_string(@)))", "no function `to_string`"),
            ("join(to_string(@), keys(@))", "no function `join`"),
            ("merge(@, @)", "no function `merge`"),
            ("response[1::2147483647]", "place"),
            ("response[-2147483647]", "place"),
            ("nonsense(@)", "no function `nonsense`"),
        ] {
            let error = Filter::compile(bad).unwrap_err();
            assert!(error.contains(why), "{}: {error}", &bad[..bad.len().min(80)]);
        }
        // As deep as can be.
        for deep in ["(".repeat(64) + "a" + &")".repeat(64), "!".repeat(127) + "a", vec!["a"; 128].join(".")]
        {
            assert!(Filter::compile(&deep).is_ok(), "{deep}");
        }
        assert_eq!(signs(r#"'(\'(' "(" `(\`(` (a-b_c)"#), 2);
    }
}
