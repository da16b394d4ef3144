//! What the command line asks for.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

/// What to measure.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Words {
    /// One node against its limits.
    Single,
    /// Service programming, without a cluster.
    Services,
    /// Several nodes.
    Nodes,
    /// Side by side with upstream's programs in this folder.
    Compare { programs: PathBuf },
    /// Everything, into a document.
    All(All),
}

/// How everything is measured.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct All {
    /// Folder of upstream's programs; without it only our side is measured.
    pub(crate) programs: Option<PathBuf>,
    /// The document to write.
    pub(crate) write: Option<PathBuf>,
    /// What was built.
    pub(crate) commit: String,
}

pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Words> {
    let first = words.next();
    let mut options = All::default();
    while let Some(word) = words.next() {
        let value = words
            .next()
            .with_context(|| format!("{word} needs a value"));
        match word.as_str() {
            "--upstream" => options.programs = Some(value?.into()),
            "--write" => options.write = Some(value?.into()),
            "--commit" => options.commit = value?,
            _ => bail!("{word} is unknown; {KNOWN}"),
        }
    }
    let plain = options == All::default();
    match first.as_deref() {
        None => Ok(Words::Single),
        Some("services") if plain => Ok(Words::Services),
        Some("nodes") if plain => Ok(Words::Nodes),
        Some("compare") if options.write.is_none() && options.commit.is_empty() => {
            let programs = options
                .programs
                .context("compare needs --upstream FOLDER")?;
            Ok(Words::Compare { programs })
        }
        Some("all") => Ok(Words::All(options)),
        Some(_) => bail!("{KNOWN}"),
    }
}

const KNOWN: &str = "known: no words, services, nodes, compare --upstream FOLDER, all [--upstream FOLDER] [--write FILE] [--commit TEXT]";

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::parse;

    #[track_caller]
    fn check(words: &str, expect: Expect) {
        let words = words.split_whitespace().map(str::to_owned);
        let text = match parse(words) {
            Ok(words) => format!("{words:?}"),
            Err(error) => format!("{error:#}"),
        };
        expect.assert_eq(&text);
    }

    #[test]
    fn words() {
        check("", expect!["Single"]);
        check("nodes", expect!["Nodes"]);
        check(
            "compare --upstream /up",
            expect![[r#"Compare { programs: "/up" }"#]],
        );
        check(
            "all --write doc.md --commit abc",
            expect![[r#"All(All { programs: None, write: Some("doc.md"), commit: "abc" })"#]],
        );
        check("compare", expect!["compare needs --upstream FOLDER"]);
        check("all --write", expect!["--write needs a value"]);
        check(
            "nodes --write x",
            expect![
                "known: no words, services, nodes, compare --upstream FOLDER, all [--upstream FOLDER] [--write FILE] [--commit TEXT]"
            ],
        );
    }
}
