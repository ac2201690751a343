//! The sections beside the messages: `schema` and `tag_ranges`.

use super::report::{Draft, Report, Span, shown};
use super::values::{integer, mapping, text, warn_of_misspelt};
use super::yaml::Mapping;

const SCHEMA_KEYS: &[&str] = &["id", "version", "min_compatible"];
const RANGE_KEYS: &[&str] = &["core", "app", "experimental"];

/// The section `schema`.
#[derive(Default)]
pub(super) struct Head {
    pub(super) id: Option<u64>,
    pub(super) version: Option<u32>,
    pub(super) min_compatible: Option<u32>,
}

impl Head {
    pub(super) fn read(report: &mut Report<'_>, top: &Mapping<'_>) -> Self {
        let Some(section) = top.get("schema").and_then(|node| mapping(report, node, "`schema`")) else {
            return Self::default();
        };
        warn_of_misspelt(report, section, SCHEMA_KEYS);
        let id = section.get("id").and_then(|node| integer(report, node, "`schema: id`", 0, u64::MAX));
        let [version, min_compatible] = ["version", "min_compatible"].map(|key| {
            let node = section.get(key)?;
            integer(report, node, &format!("`schema: {key}`"), 0, u32::MAX)
        });
        if let (Some(version), Some(least), Some(node)) =
            (version, min_compatible, section.get("min_compatible"))
            && least > version
        {
            let message = format!("`min_compatible` {least} is above the version, {version}");
            report.error(Draft::new(node.span, message));
        }
        Self { id, version, min_compatible }
    }
}

/// The section `tag_ranges`: of each range the first id, the last id, and its place in the file.
#[derive(Default)]
pub(super) struct Ranges {
    core: Option<(u16, u16, Span)>,
    pub(super) app: Option<(u16, u16, Span)>,
    experimental: Option<(u16, u16, Span)>,
}

impl Ranges {
    pub(super) fn read(report: &mut Report<'_>, top: &Mapping<'_>) -> Self {
        let Some(section) = top.get("tag_ranges").and_then(|node| mapping(report, node, "`tag_ranges`"))
        else {
            return Self::default();
        };
        warn_of_misspelt(report, section, RANGE_KEYS);
        let [core, app, experimental] = ["core", "app", "experimental"].map(|key| {
            let node = section.get(key)?;
            let what = format!("`tag_ranges: {key}`");
            let text = text(report, node, &what)?;
            let ends = text.split_once('-').map(|(first, last)| (first.trim().parse(), last.trim().parse()));
            match ends {
                Some((Ok(first), Ok(last))) if first <= last => Some((first, last, node.span)),
                _ => {
                    let message = format!("{what} is not a range of ids: {}", shown(text));
                    report
                        .error(Draft::new(node.span, message).help(Some("such as `1000-49999`".to_owned())));
                    None
                }
            }
        });
        Self { core, app, experimental }
    }

    pub(super) fn check(&self, report: &mut Report<'_>, name: &str, id: u16, span: Span) {
        let within = |range: Option<(u16, u16, Span)>| {
            range.filter(|&(first, last, _)| (first..=last).contains(&id)).map(|(_, _, span)| span)
        };
        if let Some(core) = within(self.core) {
            let draft = Draft::new(span, format!("{name}: type id {id} is in the range `core`"));
            report.error(draft.related(core, "reserved here"));
        } else if let Some(experimental) = within(self.experimental) {
            let draft = Draft::new(span, format!("{name}: type id {id} is in the range `experimental`"));
            report.warning(draft.related(experimental, "may change without a new version"));
        } else if let (Some((_, _, app)), None) = (self.app, within(self.app)) {
            let draft = Draft::new(span, format!("{name}: type id {id} is outside the range `app`"));
            report.error(draft.related(app, "the range `app`"));
        }
    }
}
