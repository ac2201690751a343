//! Tables of texts, and how numbers are written in them.

/// A table: for the screen, or as lines of text.
#[derive(Default)]
pub(super) struct Table {
    pub(super) title: &'static str,
    pub(super) columns: &'static [Column],
    pub(super) rows: Vec<Vec<String>>,
    /// What is to be said of it, if it is to be.
    pub(super) note: String,
}

pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) is_text: bool,
}

pub(super) const fn text(name: &'static str) -> Column {
    Column { name, is_text: true }
}

pub(super) const fn number(name: &'static str) -> Column {
    Column { name, is_text: false }
}

impl Table {
    /// The columns' widths, in characters.
    pub(super) fn widths(&self) -> Vec<usize> {
        let width = |at: usize, column: &Column| {
            let cells = self.rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count());
            cells.chain([column.name.len()]).max().unwrap_or(0)
        };
        self.columns.iter().enumerate().map(|(at, column)| width(at, column)).collect()
    }

    /// The titles and the rows, aligned.
    pub(super) fn lines(&self) -> Vec<String> {
        let widths = self.widths();
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let cells = cells.zip(self.columns).zip(&widths).map(|((cell, column), &width)| {
                if column.is_text { format!("{cell:width$}") } else { format!("{cell:>width$}") }
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        let titles = line(&mut self.columns.iter().map(|column| column.name));
        let rows = self.rows.iter().map(|row| line(&mut row.iter().map(String::as_str)));
        [titles].into_iter().chain(rows).collect()
    }
}

/// 12345678 as 12.3 M.
pub(super) fn short(number: f64) -> String {
    let units = ["", " k", " M", " G", " T"];
    let (mut number, mut at) = (number, 0);
    // From here on it would be rounded to 1000.
    while number >= 999.5 && at + 1 < units.len() {
        (number, at) = (number / 1000.0, at + 1);
    }
    let digits = match number {
        _ if at == 0 => usize::from(number.fract() != 0.0 && number < 99.95),
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    format!("{number:.digits$}{}", units[at])
}

pub(super) fn bytes(number: f64) -> String {
    format!("{}{}", short(number), if number < 999.5 { " B" } else { "B" })
}

/// 0.0123 as 12.3 ms.
pub(super) fn time(seconds: f64) -> String {
    match seconds {
        ..0.001 => format!("{:.0} us", seconds * 1e6),
        ..0.01 => format!("{:.1} ms", seconds * 1e3),
        ..1.0 => format!("{:.0} ms", seconds * 1e3),
        ..60.0 => format!("{seconds:.1} s"),
        ..3600.0 => format!("{:.0} min {:02.0} s", (seconds / 60.0).floor(), (seconds % 60.0).floor()),
        _ => format!("{:.0} h {:02.0} min", (seconds / 3600.0).floor(), (seconds / 60.0 % 60.0).floor()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        for (number, expected) in [
            (0.0, "0"),
            (0.25, "0.2"),
            (12.0, "12"),
            (99.96, "100"),
            (999.0, "999"),
            (999.6, "1.00 k"),
            (1000.0, "1.00 k"),
            (12_345.0, "12.3 k"),
            (999_600.0, "1.00 M"),
            (3_301_376.0, "3.30 M"),
            (9.99e17, "999000 T"),
        ] {
            assert_eq!(short(number), expected, "{number}");
        }
        assert_eq!(bytes(512.0), "512 B");
        assert_eq!(bytes(65_536.0), "65.5 kB");
    }

    #[test]
    fn times_have_a_fitting_unit() {
        for (seconds, expected) in [
            (0.0, "0 us"),
            (0.000_25, "250 us"),
            (0.0042, "4.2 ms"),
            (0.25, "250 ms"),
            (12.34, "12.3 s"),
            (61.9, "1 min 01 s"),
            (7_384.0, "2 h 03 min"),
        ] {
            assert_eq!(time(seconds), expected, "{seconds}");
        }
    }

    #[test]
    fn columns_are_aligned() {
        const COLUMNS: &[Column] = &[text("mill"), number("stones")];
        let rows = [["a", "12"], ["long name", "1234567"]].map(|row| row.map(str::to_owned).to_vec());
        let table = Table { title: "Mills", columns: COLUMNS, rows: rows.to_vec(), note: String::new() };
        assert_eq!(table.lines(), ["mill        stones", "a               12", "long name  1234567"]);
    }
}
