//! Commands as tables.

use super::Tool;
use std::collections::BTreeMap;
use std::thread;

/// Steps of one stage that run at the same time.
const AT_ONCE: usize = 3;

/// One command, what it must print and how it must end.
#[derive(Clone, Copy)]
pub(super) struct Step {
    /// The command line without the program's name, as a shell reads it; `<name>` stands for what an earlier stage kept.
    pub line: &'static str,
    /// Texts that its standard output must hold.
    prints: &'static [&'static str],
    code: i32,
    /// Under which name something of its output is kept, and which part.
    keeps: Option<(&'static str, fn(&str) -> String)>,
}

/// A command that succeeds.
pub(super) const fn step(line: &'static str, prints: &'static [&'static str]) -> Step {
    Step { line, prints, code: 0, keeps: None }
}

impl Step {
    /// It ends with this code instead.
    pub(super) const fn exits(mut self, code: i32) -> Self {
        self.code = code;
        self
    }

    pub(super) const fn keeps(mut self, name: &'static str, part: fn(&str) -> String) -> Self {
        self.keeps = Some((name, part));
        self
    }

    pub(super) const fn succeeds(&self) -> bool {
        self.code == 0
    }

    /// Runs it; gives what it printed or why it is not as it should be.
    fn run(&self, tool: &Tool, kept: &BTreeMap<&'static str, String>) -> Result<String, String> {
        let words: Vec<String> =
            shlex::split(self.line).unwrap().into_iter().map(|word| filled(&word, kept)).collect();
        let finished = tool.step(&words);
        let missing: Vec<_> =
            self.prints.iter().filter(|text| !finished.stdout.contains(&filled(text, kept))).collect();
        if finished.code == Some(self.code) && missing.is_empty() {
            return Ok(finished.stdout);
        }
        let wanted = self.code;
        Err(format!("`{}` should exit {wanted}; not printed: {missing:?}; {}", self.line, finished.said()))
    }
}

fn filled(text: &str, kept: &BTreeMap<&'static str, String>) -> String {
    kept.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("<{name}>"), value))
}

/// The last word of what was printed.
pub(super) fn last_word(printed: &str) -> String {
    printed.split_whitespace().last().unwrap_or_default().to_owned()
}

/// Runs stage after stage; the steps of a stage do not depend on each other. Says all that failed.
pub(super) fn run(tool: &Tool, kept: &mut BTreeMap<&'static str, String>, stages: &[&[Step]]) {
    for stage in stages {
        for steps in stage.chunks(AT_ONCE) {
            let before = &*kept;
            let ended: Vec<_> = thread::scope(|scope| {
                let started: Vec<_> = steps.iter().map(|one| scope.spawn(|| one.run(tool, before))).collect();
                started.into_iter().map(|one| one.join().unwrap()).collect()
            });
            let failed: Vec<_> = ended.iter().filter_map(|one| one.as_ref().err().cloned()).collect();
            assert!(failed.is_empty(), "{}", failed.join("\n\n"));
            for (step, printed) in steps.iter().zip(ended) {
                if let (Some((name, part)), Ok(printed)) = (step.keeps, printed) {
                    kept.insert(name, part(&printed));
                }
            }
        }
    }
}

/// Runs the stages with nothing kept before.
pub(super) fn run_all(tool: &Tool, stages: &[&[Step]]) {
    run(tool, &mut BTreeMap::new(), stages);
}
