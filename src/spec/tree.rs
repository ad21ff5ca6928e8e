//! YAML text as a tree that knows where each value stands.
//!
//! Bounded in every direction: text, documents, depth, nodes (also those that aliases repeat).

use super::problem::{Finding, Mark, Path, Problem, Step, shown};
use super::scalar;
use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::HashMap;

/// Longest text of one source, bytes.
pub const TEXT_BYTES_MAX: usize = 4 << 20;
/// Most documents in one source.
pub const DOCUMENTS_MAX: usize = 1_000;
/// Most nodes in one source, counting what aliases repeat.
pub const NODES_MAX: usize = 200_000;
/// Deepest nesting.
pub const DEPTH_MAX: usize = 64;
/// How many quoted texts with continuation lines at the left edge are mended.
const MENDINGS_MAX: usize = 64;

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub mark: Mark,
    pub shape: Shape,
}

#[derive(Debug, Clone)]
pub(super) enum Shape {
    /// A scalar; `tagged` when it carries `!template`.
    Scalar {
        value: Value,
        tagged: bool,
    },
    Sequence(Vec<Node>),
    Mapping(Vec<(Key, Node)>),
}

#[derive(Debug, Clone)]
pub(super) struct Key {
    pub text: String,
    pub mark: Mark,
}

impl Node {
    /// A tree without places, of a JSON value.
    pub fn of_json(value: Value) -> Self {
        let key = |text| Key { text, mark: Mark::default() };
        let shape = match value {
            Value::Array(items) => Shape::Sequence(items.into_iter().map(Self::of_json).collect()),
            Value::Object(map) => Shape::Mapping(
                map.into_iter().map(|(text, value)| (key(text), Self::of_json(value))).collect(),
            ),
            value => Shape::Scalar { value, tagged: false },
        };
        Self { mark: Mark::default(), shape }
    }

    pub fn to_json(&self) -> Value {
        match &self.shape {
            Shape::Scalar { value, .. } => value.clone(),
            Shape::Sequence(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            Shape::Mapping(entries) => {
                let pairs = entries.iter().map(|(key, node)| (key.text.clone(), node.to_json()));
                Value::Object(pairs.collect::<Map<_, _>>())
            }
        }
    }

    pub fn get(&self, key: &str) -> Option<&Node> {
        let Shape::Mapping(entries) = &self.shape else { return None };
        entries.iter().find(|(name, _)| name.text == key).map(|(_, node)| node)
    }

    pub fn as_str(&self) -> Option<&str> {
        let Shape::Scalar { value, .. } = &self.shape else { return None };
        value.as_str()
    }

    pub fn is_null(&self) -> bool {
        matches!(&self.shape, Shape::Scalar { value: Value::Null, .. })
    }

    /// Renders every scalar that carries `!template`; the result is a text.
    pub fn render_tagged(
        &mut self,
        path: &Path,
        render: &dyn Fn(&str) -> Result<String, String>,
        findings: &mut Vec<Finding>,
    ) {
        match &mut self.shape {
            Shape::Scalar { value, tagged } => {
                if let (true, Some(text)) = (*tagged, value.as_str()) {
                    match render(text) {
                        Ok(text) => *value = Value::String(text),
                        Err(message) => findings.push(Finding::new(path.clone(), message)),
                    }
                }
            }
            Shape::Sequence(items) => {
                let each = items.iter_mut().enumerate();
                each.for_each(|(at, item)| item.render_tagged(&path.index(at), render, findings));
            }
            Shape::Mapping(entries) => {
                let each = entries.iter_mut();
                each.for_each(|(key, value)| value.render_tagged(&path.key(&key.text), render, findings));
            }
        }
    }

    /// Where the path leads, or the nearest place above it: the key where the last step is a key.
    pub fn locate(&self, path: &Path) -> Mark {
        let mut node = self;
        let mut mark = self.mark;
        for step in &path.0 {
            let found = match (step, &node.shape) {
                (Step::Key(wanted), Shape::Mapping(entries)) => {
                    entries.iter().find(|(key, _)| key.text == *wanted).map(|(key, value)| (key.mark, value))
                }
                (Step::Index(index), Shape::Sequence(items)) => {
                    items.get(*index).map(|item| (item.mark, item))
                }
                (Step::Key(_) | Step::Index(_), _) => None,
            };
            let Some((place, next)) = found else { return mark };
            (mark, node) = (place, next);
        }
        mark
    }
}

/// All documents of a text; empty ones are left out. Stops at the first place where it is not YAML.
pub(super) fn read(source: &str, text: &str) -> Result<Vec<Node>, Problem> {
    if text.len() > TEXT_BYTES_MAX {
        let message = format!("the text has {} bytes, at most {TEXT_BYTES_MAX} are read", text.len());
        return Err(problem(source, Mark { line: 1, column: 1 }, &Path::default(), message));
    }
    let mut text = Cow::Borrowed(text.strip_prefix('\u{feff}').unwrap_or(text));
    for _ in 0..MENDINGS_MAX {
        match Builder::new(source).run(&text) {
            Ok(documents) => return Ok(documents),
            Err(Stop::Problem(problem)) => return Err(*problem),
            Err(Stop::EdgeText { starts_at, problem }) => match mended(&text, starts_at) {
                Some(better) => text = Cow::Owned(better),
                None => return Err(*problem),
            },
        }
    }
    Builder::new(source).run(&text).map_err(|stop| match stop {
        Stop::Problem(problem) | Stop::EdgeText { problem, .. } => *problem,
    })
}

enum Stop {
    Problem(Box<Problem>),
    /// A quoted text continues left of its block, as line-wrapping terminals leave it.
    EdgeText {
        starts_at: Mark,
        problem: Box<Problem>,
    },
}

/// What the parser says of such a text; it points at the opening quote.
const EDGE_TEXT: &str = "invalid indentation in quoted scalar";

/// Indents the continuation lines of one quoted text. Folding drops the blanks, so its value stays the same.
fn mended(text: &str, starts_at: Mark) -> Option<String> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let first = *lines.get(starts_at.line.checked_sub(1)?)?;
    let indent = " ".repeat(starts_at.column);
    let opening: usize = first.chars().take(starts_at.column.checked_sub(1)?).map(char::len_utf8).sum();
    let head: usize = lines.iter().take(starts_at.line - 1).map(|line| line.len()).sum::<usize>() + opening;
    let rest = text.get(head..)?;
    let end = closing_quote(rest)?;
    let (quoted, tail) = rest.split_at_checked(end)?;
    let widened = quoted.replace('\n', &format!("\n{indent}"));
    Some(format!("{}{widened}{tail}", text.get(..head)?))
}

/// Offset of the quote that closes the text which begins with a quote.
fn closing_quote(text: &str) -> Option<usize> {
    let mut chars = text.char_indices().peekable();
    let (_, quote) = chars.next()?;
    while let Some((at, found)) = chars.next() {
        match found {
            '\\' if quote == '"' => _ = chars.next(),
            '\'' if quote == '\'' && chars.peek().is_some_and(|(_, next)| *next == '\'') => {
                _ = chars.next();
            }
            _ if found == quote => return Some(at),
            _ => {}
        }
    }
    None
}

/// A collection that is not closed yet.
struct Frame {
    mark: Mark,
    anchor: usize,
    /// Nodes read before it.
    nodes_before: usize,
    open: Open,
}

enum Open {
    Sequence(Vec<Node>),
    Mapping { entries: Vec<(Key, Node)>, key: Option<Key> },
}

struct Builder<'a> {
    source: &'a str,
    documents: Vec<Node>,
    stack: Vec<Frame>,
    /// Anchored nodes with their sizes.
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
}

impl<'a> Builder<'a> {
    fn new(source: &'a str) -> Self {
        Self { source, documents: Vec::new(), stack: Vec::new(), anchors: HashMap::new(), nodes: 0 }
    }

    fn run(mut self, text: &str) -> Result<Vec<Node>, Stop> {
        let mut parser = Parser::new_from_str(text);
        while let Some(event) = parser.next_event() {
            let (event, span) = event.map_err(|error| self.not_yaml(&error))?;
            self.take(event, span).map_err(|problem| Stop::Problem(Box::new(problem)))?;
        }
        Ok(self.documents)
    }

    fn not_yaml(&self, error: &ScanError) -> Stop {
        let mark = Mark { line: error.marker().line(), column: error.marker().col() + 1 };
        let problem = self.refuse(mark, format!("this is not YAML: {}", error.info()));
        let problem = Box::new(problem);
        if error.info() == EDGE_TEXT {
            Stop::EdgeText { starts_at: mark, problem }
        } else {
            Stop::Problem(problem)
        }
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Problem> {
        let mark = Mark { line: span.start.line(), column: span.start.col() + 1 };
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => {
                self.anchors.clear();
                Ok(())
            }
            Event::Alias(anchor) => self.alias(anchor, mark),
            Event::Scalar(text, style, anchor, tag) => {
                self.count(1, mark)?;
                let shape = self.scalar(text, style, tag.as_deref(), mark)?;
                self.finish(Node { mark, shape }, anchor, 1)
            }
            Event::SequenceStart(anchor, tag) => {
                self.open(Open::Sequence(Vec::new()), anchor, tag.as_deref(), mark)
            }
            Event::MappingStart(anchor, tag) => {
                let open = Open::Mapping { entries: Vec::new(), key: None };
                self.open(open, anchor, tag.as_deref(), mark)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
        }
    }

    fn open(&mut self, open: Open, anchor: usize, tag: Option<&Tag>, mark: Mark) -> Result<(), Problem> {
        if let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema()) {
            return Err(self.refuse(mark, format!("the tag `{}` is not known here", shown(&tag.to_string()))));
        }
        if self.stack.len() >= DEPTH_MAX {
            return Err(self.refuse(mark, format!("nested deeper than {DEPTH_MAX} levels")));
        }
        let nodes_before = self.nodes;
        self.count(1, mark)?;
        self.stack.push(Frame { mark, anchor, nodes_before, open });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Problem> {
        let Some(Frame { mark, anchor, nodes_before, open }) = self.stack.pop() else { return Ok(()) };
        let shape = match open {
            Open::Sequence(items) => Shape::Sequence(items),
            Open::Mapping { entries, .. } => Shape::Mapping(merged(entries)),
        };
        self.finish(Node { mark, shape }, anchor, self.nodes - nodes_before)
    }

    fn alias(&mut self, anchor: usize, mark: Mark) -> Result<(), Problem> {
        let Some((node, size)) = self.anchors.get(&anchor).cloned() else {
            return Err(self.refuse(mark, "an alias stands inside the value it repeats".to_owned()));
        };
        self.count(size, mark)?;
        if self.stack.len() + depth(&node) > DEPTH_MAX {
            return Err(self.refuse(mark, format!("nested deeper than {DEPTH_MAX} levels")));
        }
        self.finish(Node { mark, ..node }, 0, size)
    }

    fn count(&mut self, nodes: usize, mark: Mark) -> Result<(), Problem> {
        self.nodes += nodes;
        if self.nodes <= NODES_MAX {
            return Ok(());
        }
        Err(self.refuse(mark, format!("more than {NODES_MAX} values, counting what aliases repeat")))
    }

    fn scalar(
        &self,
        text: Cow<'_, str>,
        style: ScalarStyle,
        tag: Option<&Tag>,
        mark: Mark,
    ) -> Result<Shape, Problem> {
        let Some(tag) = tag else {
            let value = if style == ScalarStyle::Plain {
                scalar::plain(&text)
            } else {
                Value::String(text.into_owned())
            };
            return Ok(Shape::Scalar { value, tagged: false });
        };
        if tag.handle == "!" && tag.suffix == "template" {
            return Ok(Shape::Scalar { value: Value::String(text.into_owned()), tagged: true });
        }
        let value = match (tag.is_yaml_core_schema(), tag.suffix.as_str()) {
            (true, "str") => Some(Value::String(text.into_owned())),
            (true, "int" | "float" | "bool" | "null") => Some(scalar::plain(&text)),
            _ => None,
        };
        value.map(|value| Shape::Scalar { value, tagged: false }).ok_or_else(|| {
            self.refuse(mark, format!("the tag `{}` is not known here", shown(&tag.to_string())))
        })
    }

    /// Puts a finished node where it belongs: a key, a value, an item or a document.
    fn finish(&mut self, node: Node, anchor: usize, size: usize) -> Result<(), Problem> {
        if anchor > 0 {
            self.anchors.insert(anchor, (node.clone(), size));
        }
        let Some(frame) = self.stack.last_mut() else { return self.document(node) };
        match &mut frame.open {
            Open::Sequence(items) => items.push(node),
            Open::Mapping { entries, key: slot } => {
                if let Some(key) = slot.take() {
                    entries.push((key, node));
                    return Ok(());
                }
                let Some(text) = key_text(&node) else {
                    return Err(self.refuse(node.mark, "a field name must be a text".to_owned()));
                };
                let twice = text != MERGE && entries.iter().any(|(key, _)| key.text == text);
                let message = format!("the field `{}` is written twice", shown(&text));
                *slot = Some(Key { text, mark: node.mark });
                if twice {
                    return Err(self.refuse(node.mark, message));
                }
            }
        }
        Ok(())
    }

    fn document(&mut self, node: Node) -> Result<(), Problem> {
        if node.is_null() {
            return Ok(());
        }
        if self.documents.len() >= DOCUMENTS_MAX {
            return Err(self.refuse(node.mark, format!("more than {DOCUMENTS_MAX} documents in one source")));
        }
        self.documents.push(node);
        Ok(())
    }

    fn refuse(&self, mark: Mark, message: String) -> Problem {
        let steps = self.stack.iter().filter_map(|frame| match &frame.open {
            Open::Sequence(items) => Some(Step::Index(items.len())),
            Open::Mapping { key, .. } => key.as_ref().map(|key| Step::Key(key.text.clone())),
        });
        problem(self.source, mark, &Path(steps.collect()), message)
    }
}

/// The key that takes the fields of other mappings in.
const MERGE: &str = "<<";

/// Takes `<<` fields in; what is written beside them wins.
fn merged(mut entries: Vec<(Key, Node)>) -> Vec<(Key, Node)> {
    let Some(at) = entries.iter().position(|(key, _)| key.text == MERGE) else { return entries };
    let (_, taken) = entries.remove(at);
    let maps = match taken.shape {
        Shape::Sequence(items) => items,
        Shape::Mapping(_) | Shape::Scalar { .. } => vec![taken],
    };
    for map in maps {
        let Shape::Mapping(more) = map.shape else { continue };
        for (key, node) in more {
            if !entries.iter().any(|(have, _)| have.text == key.text) {
                entries.push((key, node));
            }
        }
    }
    entries
}

fn key_text(node: &Node) -> Option<String> {
    let Shape::Scalar { value, .. } = &node.shape else { return None };
    Some(match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    })
}

fn depth(node: &Node) -> usize {
    match &node.shape {
        Shape::Scalar { .. } => 0,
        Shape::Sequence(items) => 1 + items.iter().map(depth).max().unwrap_or_default(),
        Shape::Mapping(entries) => 1 + entries.iter().map(|(_, node)| depth(node)).max().unwrap_or_default(),
    }
}

fn problem(source: &str, mark: Mark, path: &Path, message: String) -> Problem {
    let Mark { line, column } = mark;
    Problem { source: source.to_owned(), line, column, path: path.to_string(), message, hint: None }
}
