//! Markdown: on the terminal, and in `benches/results/burst.md`.

use std::fmt::Write as _;

use crate::variant::Variant;
use crate::{Measured, Results, chart, results};

/// Seconds after the burst that the table shows; the chart shows all.
pub(crate) const SECONDS: [usize; 5] = [0, 5, 10, 20, 30];

pub(crate) fn table(results: &Results) -> String {
    let heads: String = SECONDS.iter().map(|second| format!(" {second} s after |")).collect();
    let rule = "---|".repeat(SECONDS.len());
    let mut text =
        format!("| allocator | | before | burst |{heads} of it the pool's |\n|---|---|---|---|{rule}---|\n");
    for (variant, measured) in results {
        let after: String = SECONDS.iter().map(|&second| mib(measured.after.get(second))).collect();
        let _ = writeln!(
            text,
            "| {} | {} |{}{}{after}{}",
            variant.allocator.name(),
            variant.name(),
            mib(Some(&measured.before)),
            mib(Some(&measured.burst)),
            mib(Some(&measured.pool)),
        );
    }
    for (Variant { allocator, .. }, Measured { trims, .. }) in
        results.iter().filter(|(_, measured)| !measured.trims.is_empty())
    {
        let _ = writeln!(text, "\nIn `on_decay`, the calls took {}, in ms: {trims:?}.", allocator.name());
    }
    text
}

fn mib(kib: Option<&u64>) -> String {
    kib.map_or_else(|| " |".to_owned(), |kib| format!(" {:.0} |", *kib as f64 / 1024.0))
}

pub(crate) fn section_text(results: &Results) -> String {
    let machine = results::machine();
    format!(
        "\n{machine}. MiB resident.\n\n{}\n![{}](../charts/{})\n\n",
        table(results),
        chart::TITLE,
        chart::FILE_NAME,
    )
}

/// MiB resident at the start and at each of the seconds shown.
pub(crate) fn figures(results: &Results) -> Vec<(String, f64)> {
    let mut figures = Vec::new();
    for (variant, measured) in results {
        let key = format!("burst/{}/{}", variant.allocator.name(), variant.name());
        let mib = |kib: u64| kib as f64 / 1024.0;
        figures.push((format!("{key}/before"), mib(measured.before)));
        let shown = SECONDS.iter().filter_map(|&second| Some((second, *measured.after.get(second)?)));
        figures.extend(shown.map(|(second, kib)| (format!("{key}/{second} s"), mib(kib))));
    }
    figures
}
