//! Lines up a Table answer, as kubectl does: columns of priority 0, three spaces apart.

use schema::{Ref, Value};

/// The table as text. `namespace` puts a column in front; `wide` shows all columns.
pub fn print_table(table: Ref<'_>, namespace: bool, wide: bool) -> String {
    let mut columns: Vec<(usize, String)> = Vec::new();
    for (index, column) in table.items("columnDefinitions").enumerate() {
        if wide || column.int("priority").unwrap_or(0) == 0 {
            columns.push((index, column.str("name").to_uppercase()));
        }
    }
    let mut lines: Vec<Vec<String>> = Vec::new();
    let mut header: Vec<String> = columns.iter().map(|(_, name)| name.clone()).collect();
    if namespace {
        header.insert(0, "NAMESPACE".to_owned());
    }
    lines.push(header);
    for row in table.items("rows") {
        let cells: Vec<String> = row.items("cells").map(cell).collect();
        let mut line: Vec<String> = columns
            .iter()
            .map(|(index, _)| cells.get(*index).cloned().unwrap_or_default())
            .collect();
        if namespace {
            let own = row
                .at(&["object", "metadata"])
                .map_or("", |metadata| metadata.str("namespace"));
            line.insert(0, own.to_owned());
        }
        lines.push(line);
    }
    align(&lines)
}

fn cell(value: Ref<'_>) -> String {
    match value.value() {
        Value::Str(text) => text.replace('\n', " "),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        Value::Null => "<none>".to_owned(),
        Value::List | Value::Map => String::from_utf8_lossy(&value.to_json()).into_owned(),
    }
}

/// Lines of cells as columns, three spaces apart.
pub fn align(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| {
        lines
            .iter()
            .filter_map(|line| line.get(at))
            .map(|text| text.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for line in lines {
        let mut one = String::new();
        for (at, cell) in line.iter().enumerate() {
            one.push_str(cell);
            let pad = widths[at] + 3 - cell.chars().count();
            one.extend(std::iter::repeat_n(' ', pad));
        }
        text.push_str(one.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use schema::Dom;

    use super::*;

    #[test]
    fn columns_line_up() {
        let dom = Dom::parse_json(
            br#"{"columnDefinitions":[{"name":"Name","priority":0},{"name":"Ready","priority":0},{"name":"IP","priority":1}],
                "rows":[{"cells":["web","1/1","10.0.0.1"]},{"cells":["a-longer-name","0/1",null]}]}"#,
        )
        .unwrap();
        expect![[r"
            NAME            READY
            web             1/1
            a-longer-name   0/1
        "]]
        .assert_eq(&print_table(dom.as_ref(), false, false));
    }
}
