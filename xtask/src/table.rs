//! Plain text tables.

/// How a column's cells are set.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Align {
    Left,
    Right,
}

/// Lays out rows under a header: two spaces between columns, a rule below the header, nothing after a line's last word.
pub(crate) fn render(header: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = header.iter().map(|(title, _)| title.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut out = String::new();
        for ((cell, width), (_, align)) in cells.zip(&widths).zip(header) {
            let pad = " ".repeat(width - cell.chars().count());
            match align {
                Align::Left => out.extend([cell, &pad]),
                Align::Right => out.extend([&pad, cell]),
            }
            out.push_str("  ");
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
        out
    };
    let mut out = line(&mut header.iter().map(|(title, _)| *title));
    let total: usize = widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1);
    out.push_str(&"-".repeat(total));
    out.push('\n');
    for row in rows {
        out.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = vec![vec!["a".to_owned(), "10".to_owned()], vec!["long".to_owned(), "7".to_owned()]];
        let shown = render(&[("what", Align::Left), ("n", Align::Right)], &rows);
        assert_eq!(shown, "what   n\n--------\na     10\nlong   7\n");
    }

    #[test]
    fn no_trailing_blanks() {
        let rows = vec![vec!["x".to_owned(), String::new()]];
        let shown = render(&[("a", Align::Left), ("b", Align::Left)], &rows);
        assert_eq!(shown, "a  b\n----\nx\n");
    }
}
