//! What the values of a field must hold, and the bound of its type that comes with it.

use super::super::model::{Bound, Type, Validation};
use super::super::report::{Draft, Report, Span, nearest, shown};
use super::super::types::Spelled;
use super::super::yaml::{Node, Value};
use super::values::{fitting, integer, mapping, number, sequence, truth};
use super::{RawField, default_slots};

const KEYS: &[&str] = &["not_empty", "not_zero", "min_length", "max_length", "min", "max"];

/// Ours, and what others call them beyond a misspelling, without underscores.
const OTHERS: &[(&str, &str)] = &[
    ("length", "max_length"),
    ("max", "max"),
    ("maximum", "max"),
    ("maxitems", "max_length"),
    ("maxlen", "max_length"),
    ("maxlength", "max_length"),
    ("maxsize", "max_length"),
    ("maxvalue", "max"),
    ("min", "min"),
    ("minimum", "min"),
    ("minitems", "min_length"),
    ("minlen", "min_length"),
    ("minlength", "min_length"),
    ("minsize", "min_length"),
    ("minvalue", "min"),
    ("notempty", "not_empty"),
    ("notzero", "not_zero"),
];

/// The type with its bound, and what its values must hold; `None` if something of it is wrong.
pub(super) fn read(
    report: &mut Report<'_>,
    node: Option<&Node<'_>>,
    spelled: Spelled,
    field: &RawField<'_, '_>,
    who: &str,
) -> Option<(Type, Validation)> {
    let mut checks = Checks { spelled: &spelled, who, validation: Validation::default(), sound: true };
    // Where the lower of two bounds stands, of which the upper may come later.
    let (mut min, mut min_length) = (field.name_span, field.name_span);
    let mut seen: Vec<(&str, Span)> = Vec::new();
    let items = match node {
        Some(node) => sequence(report, node, &format!("{who}: `validation`"))?,
        None => &[],
    };
    for item in items {
        let Some(item) = mapping(report, item, &format!("{who}: a validation")) else {
            checks.sound = false;
            continue;
        };
        for entry in &item.0 {
            let key = entry.key.as_ref();
            if let Some(&(_, first)) = seen.iter().find(|(other, _)| *other == key) {
                let draft = Draft::new(entry.key_span, format!("{who}: {} is there twice", shown(key)));
                report.error(draft.label("again here").related(first, "first here"));
                checks.sound = false;
                continue;
            }
            if KEYS.contains(&key) {
                seen.push((key, entry.key_span));
            }
            match key {
                "min" => min = entry.value.span,
                "min_length" => min_length = entry.value.span,
                _ => {}
            }
            let taken = checks.take(report, key, entry.key_span, &entry.value);
            checks.sound &= taken.is_some();
        }
    }
    let Checks { validation, sound, .. } = checks;
    if !sound {
        return None;
    }
    if let (Some(least), Some(largest)) = (validation.min, validation.max)
        && least > largest
    {
        report.error(Draft::new(min, format!("{who}: `min` {least} is above `max` {largest}")));
        return None;
    }
    if validation.not_zero && only_zero(&spelled, &validation) {
        let message = format!("{who}: no value is within `min` and `max` and not zero");
        report.error(Draft::new(field.name_span, message));
        return None;
    }
    let ty = match spelled {
        Spelled::Whole(ty) => ty,
        open => {
            let Some(slots) = validation.max_length.or_else(|| default_slots(&open)) else {
                let draft = Draft::new(field.name_span, format!("{who}: a list without a bound"));
                report.error(draft.help(Some("`validation: [max_length: N]`".to_owned())));
                return None;
            };
            match open {
                Spelled::List(element) => Type::FixedVec { element: Box::new(element), slots },
                _ => Type::FixedStr { slots },
            }
        }
    };
    let most = match ty {
        Type::FixedStr { slots } | Type::FixedVec { slots, .. } => validation.max_length.unwrap_or(slots),
        _ => u16::MAX,
    };
    if let Some(least) = validation.min_length
        && least > most
    {
        let message = format!("{who}: `min_length` {least} is above the {most} that fit");
        report.error(Draft::new(min_length, message));
        return None;
    }
    Some((ty, validation))
}

struct Checks<'c> {
    spelled: &'c Spelled,
    who: &'c str,
    validation: Validation,
    sound: bool,
}

impl Checks<'_> {
    /// One of them; `None` if it is wrong.
    fn take(&mut self, report: &mut Report<'_>, key: &str, key_span: Span, value: &Node<'_>) -> Option<()> {
        let what = format!("{}: `{key}`", self.who);
        match key {
            "not_empty" | "min_length" | "max_length" if self.slots().is_none() => {
                report.error(Draft::new(key_span, format!("{what} is of text and lists only")));
                return None;
            }
            "not_zero" if !self.can_be_zero() => {
                let draft = Draft::new(key_span, format!("{what} is of numbers and arrays only"));
                let help = self.slots().is_some().then(|| "did you mean `not_empty`?".to_owned());
                report.error(draft.help(help));
                return None;
            }
            "not_empty" => self.validation.not_empty = truth(report, value, &what)?,
            "not_zero" => self.validation.not_zero = truth(report, value, &what)?,
            "min_length" => self.validation.min_length = Some(integer(report, value, &what, 0, u16::MAX)?),
            "max_length" => {
                let most = self.slots().unwrap_or(u16::MAX);
                self.validation.max_length = Some(integer(report, value, &what, 1, most)?);
            }
            "min" => self.validation.min = Some(self.bound(report, key_span, value, &what)?),
            "max" => self.validation.max = Some(self.bound(report, key_span, value, &what)?),
            _ => {
                if report.wants_warnings()
                    && let Some(meant) = meant(key)
                {
                    let draft = Draft::new(key_span, format!("{}: {} is not checked", self.who, shown(key)));
                    report.warning(draft.help(Some(format!("did you mean `{meant}`?"))));
                }
                let written = report.text().get(value.span.start..value.span.end).unwrap_or_default();
                self.validation.other.push((key.to_owned(), written.trim().to_owned()));
            }
        }
        Some(())
    }

    /// The most that `max_length` may be; `None` of what has no length.
    fn slots(&self) -> Option<u16> {
        match self.spelled {
            Spelled::Whole(Type::FixedStr { slots } | Type::FixedVec { slots, .. }) => Some(*slots),
            Spelled::Whole(_) => None,
            Spelled::Text | Spelled::List(_) => Some(u16::MAX),
        }
    }

    fn can_be_zero(&self) -> bool {
        matches!(self.spelled, Spelled::Whole(ty) if ty.is_fixed() && *ty != Type::Bool)
    }

    /// A value that the field can have.
    fn bound(&self, report: &mut Report<'_>, key_span: Span, value: &Node<'_>, what: &str) -> Option<Bound> {
        if let Some((least, largest)) = range(self.spelled) {
            return integer(report, value, what, least, largest).map(Bound::Integer);
        }
        let (bound, expected) = match self.spelled {
            Spelled::Whole(Type::F32) => {
                (float(value).filter(|bound| (*bound as f32).is_finite()), "a number of the range of f32")
            }
            Spelled::Whole(Type::F64) => (float(value), "a finite number"),
            _ => {
                report.error(Draft::new(key_span, format!("{what} is of numbers only")));
                return None;
            }
        };
        if bound.is_none() {
            report.error(fitting(value, what, expected));
        }
        bound.map(Bound::Float)
    }
}

/// The least and the largest value of an integer that may be a bound.
fn range(spelled: &Spelled) -> Option<(i128, i128)> {
    let Spelled::Whole(ty) = spelled else { return None };
    Some(match ty {
        Type::U8 => (0, u8::MAX.into()),
        Type::U16 => (0, u16::MAX.into()),
        Type::U32 => (0, u32::MAX.into()),
        Type::U64 => (0, u64::MAX.into()),
        Type::U128 | Type::U256 => (0, i128::MAX),
        Type::I8 => (i8::MIN.into(), i8::MAX.into()),
        Type::I16 => (i16::MIN.into(), i16::MAX.into()),
        Type::I32 => (i32::MIN.into(), i32::MAX.into()),
        Type::I64 => (i64::MIN.into(), i64::MAX.into()),
        Type::I128 => (i128::MIN, i128::MAX),
        _ => return None,
    })
}

/// Whether the bounds leave nothing but 0.
fn only_zero(spelled: &Spelled, validation: &Validation) -> bool {
    let Some((least, _)) = range(spelled) else { return false };
    validation.max == Some(Bound::Integer(0))
        && validation.min.unwrap_or(Bound::Integer(least)) == Bound::Integer(0)
}

/// Which of ours a key was to be: `maxItems`, for one.
fn meant(key: &str) -> Option<&'static str> {
    let letters = key.bytes().filter(|byte| !matches!(byte, b'_' | b'-'));
    let letters: Vec<u8> = letters.map(|byte| byte.to_ascii_lowercase()).collect();
    let other = OTHERS.iter().find(|(other, _)| other.as_bytes() == letters);
    other.map(|&(_, ours)| ours).or_else(|| nearest(key, KEYS.iter().copied()))
}

fn float(node: &Node<'_>) -> Option<f64> {
    let Value::Scalar { text, plain: true } = &node.value else { return None };
    // Rust's spellings of infinity and of what is no number are not YAML's.
    let is_number = text.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | '-' | '+' | 'e' | 'E'));
    let value = text.parse().ok().filter(|value: &f64| is_number && value.is_finite());
    value.or_else(|| number(node).map(|whole| whole as f64))
}
