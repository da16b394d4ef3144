//! The side by side as rows: medians, least and most, ratios.

use std::fmt::Write as _;

use crate::report::number;

/// What was measured so far.
#[derive(Default)]
pub(crate) struct Comparison {
    pub(super) rows: Vec<Row>,
    /// Flush probes of before and after, in ms.
    pub(super) probes: Vec<f64>,
    /// Answers that the closed loops got, ours and upstream's; an error among them ends the run.
    pub(super) requests: [usize; 2],
}

pub(super) struct Row {
    pub(super) name: &'static str,
    /// Of rates (`/s`) more is better, of all else less.
    pub(super) unit: &'static str,
    pub(super) ours: Vec<f64>,
    pub(super) theirs: Vec<f64>,
}

impl Row {
    /// How many times better ours is.
    fn ratio(&self) -> f64 {
        let (ours, theirs) = (median(&self.ours), median(&self.theirs));
        match self.unit {
            "/s" => ours / theirs,
            _ => theirs / ours,
        }
    }
}

impl Comparison {
    /// A table in Markdown, fit for the terminal too.
    pub(crate) fn markdown(&self) -> String {
        let mut text =
            "| work | unit | Transom: median (min–max) | upstream: median (min–max) | ratio |\n|---|---|---|---|---|\n"
                .to_owned();
        for row in &self.rows {
            let (ours, theirs) = (spread(&row.ours), spread(&row.theirs));
            let ratio = match row.ratio() {
                ratio if ratio.is_finite() => format!("{}×", number(ratio)),
                _ => "–".to_owned(),
            };
            let _ = writeln!(
                text,
                "| {} | {} | {ours} | {theirs} | {ratio} |",
                row.name, row.unit
            );
        }
        let probes: Vec<String> = self.probes.iter().map(|ms| number(*ms)).collect();
        let [ours, theirs] = self.requests;
        let _ = writeln!(
            text,
            "\nFlush probe before and after: {} ms. Answers in the closed loops: {ours} of Transom, {theirs} of upstream, none an error.",
            probes.join(" and ")
        );
        text
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn spread(values: &[f64]) -> String {
    if let [value] = values {
        return number(*value);
    }
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    format!(
        "{} ({}–{})",
        number(median(values)),
        number(least),
        number(most)
    )
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::{Comparison, Row};

    /// More requests and less memory are both better, and are ratios above one.
    #[test]
    fn ratios() {
        let row = |unit, ours: &[f64], theirs: &[f64]| Row {
            name: "work",
            unit,
            ours: ours.to_vec(),
            theirs: theirs.to_vec(),
        };
        let table = Comparison {
            rows: vec![
                row("/s", &[100.0, 300.0, 200.0], &[50.0, 100.0, 12345.0]),
                row("MiB", &[20.0], &[400.0]),
                row("% of core", &[0.0], &[1.0]),
            ],
            probes: vec![0.25, 3.0],
            requests: [10, 5],
        };
        expect![[r#"
            | work | unit | Transom: median (min–max) | upstream: median (min–max) | ratio |
            |---|---|---|---|---|
            | work | /s | 200 (100–300) | 100 (50.0–12,345) | 2.00× |
            | work | MiB | 20.0 | 400 | 20.0× |
            | work | % of core | 0.00 | 1.00 | – |

            Flush probe before and after: 0.25 and 3.00 ms. Answers in the closed loops: 10 of Transom, 5 of upstream, none an error.
        "#]]
        .assert_eq(&table.markdown());
    }
}
