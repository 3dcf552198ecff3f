//! Columns of text.

use console::measure_text_width;

/// Rows in columns as wide as their widest cell, two spaces between; the last column is not padded.
pub fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| measure_text_width(cell)).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells: String = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell}{}  ", " ".repeat(width - measure_text_width(cell))))
            .collect();
        format!("{}\n", cells.trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::columns;

    #[test]
    fn columns_line_up_and_nothing_trails() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let table = columns(&[row(["NAME", "READY", "WAITING FOR"]), row(["nova-compute", "0/1", ""])]);
        assert_eq!(table, "NAME          READY  WAITING FOR\nnova-compute  0/1\n");
    }
}
