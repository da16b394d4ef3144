//! What was measured, against what is promised; on the terminal and in Markdown.

use std::fmt::Write as _;

/// One row.
pub(crate) struct Figure {
    name: String,
    unit: &'static str,
    limit: Option<f64>,
    measured: Result<f64, String>,
}

impl Figure {
    pub(crate) fn new(name: impl Into<String>, unit: &'static str, measured: f64) -> Self {
        Self {
            name: name.into(),
            unit,
            limit: None,
            measured: Ok(measured),
        }
    }

    /// A figure that could not be had, and why.
    pub(crate) fn missing(name: &str, reason: &str) -> Self {
        Self {
            name: name.to_owned(),
            unit: "",
            limit: None,
            measured: Err(reason.to_owned()),
        }
    }

    /// At most this much.
    pub(crate) fn limit(mut self, limit: f64) -> Self {
        self.limit = Some(limit);
        self
    }

    fn missed(&self) -> bool {
        matches!((&self.measured, self.limit), (Ok(measured), Some(limit)) if *measured > limit)
    }

    fn measured(&self) -> String {
        match &self.measured {
            Ok(measured) => number(*measured),
            Err(reason) => format!("not measured: {reason}"),
        }
    }
}

/// All rows, in the order of measuring.
#[derive(Default)]
pub(crate) struct Report {
    figures: Vec<Figure>,
}

impl Report {
    pub(crate) fn add(&mut self, figure: Figure) {
        self.figures.push(figure);
    }

    pub(crate) fn extend(&mut self, figures: Vec<Figure>) {
        self.figures.extend(figures);
    }

    /// Figures that could not be had.
    pub(crate) fn missing(&self) -> usize {
        let missing = self
            .figures
            .iter()
            .filter(|figure| figure.measured.is_err());
        missing.count()
    }

    pub(crate) fn print(&self) {
        line(&format!(
            "\n{:<48} {:<9} {:>9} {:>10}",
            "FIGURE", "UNIT", "LIMIT", "MEASURED"
        ));
        for figure in &self.figures {
            let limit = figure.limit.map_or("-".to_owned(), number);
            let missed = if figure.missed() { "  MISSED" } else { "" };
            line(&format!(
                "{:<48} {:<9} {limit:>9} {:>10}{missed}",
                figure.name,
                figure.unit,
                figure.measured()
            ));
        }
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text = "| figure | unit | limit | measured |\n|---|---|---|---|\n".to_owned();
        for figure in &self.figures {
            let limit = figure.limit.map_or("–".to_owned(), number);
            let missed = if figure.missed() { " **missed**" } else { "" };
            let measured = figure.measured().replace(['|', '\n'], " ");
            let (name, unit) = (&figure.name, figure.unit);
            let _ = writeln!(text, "| {name} | {unit} | {limit} | {measured}{missed} |");
        }
        text
    }
}

/// Three digits are more than the machine repeats.
pub(crate) fn number(value: f64) -> String {
    match value {
        value if value >= 10_000.0 => {
            let whole = format!("{value:.0}");
            let mut text = String::new();
            for (at, digit) in whole.chars().enumerate() {
                if at > 0 && (whole.len() - at).is_multiple_of(3) {
                    text.push(',');
                }
                text.push(digit);
            }
            text
        }
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
pub(crate) fn line(text: &str) {
    println!("{text}");
}

/// The value below which `share` of the sorted values lie.
pub(crate) fn percentile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let at = (last as f64 * share).ceil() as usize;
    sorted.get(at.min(last)).copied().unwrap_or(f64::NAN)
}
