//! The section `validation` of a field: its constraints, and the bound that they give its type.

use super::super::field::{Bound, Constraints, Type};
use super::raw::RawField;
use super::report::{Draft, Report, Span, nearest, shown};
use super::types::Spelled;
use super::values::{fitting, integer, mapping, number, sequence, truth};
use super::yaml::{Node, Value};

const KEYS: &[&str] = &["not_empty", "not_zero", "min_length", "max_length", "min", "max"];

/// Common names for these keys in other formats, without underscores.
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

/// The type with its bound, and the constraints of its values; `None` if any of it is wrong.
pub(super) fn read(
    report: &mut Report<'_>,
    node: Option<&Node<'_>>,
    spelled: Spelled,
    field: &RawField<'_, '_>,
    who: &str,
) -> Option<(Type, Constraints)> {
    let mut checks = Checks { spelled: &spelled, who, constraints: Constraints::default(), sound: true };
    // Where the lower of two bounds is written; the upper one may come later.
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
                let draft = Draft::new(entry.key_span, format!("{who}: {} is given twice", shown(key)));
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
    let Checks { constraints, sound, .. } = checks;
    if !sound {
        return None;
    }
    if let (Some(least), Some(largest)) = (constraints.min, constraints.max)
        && least > largest
    {
        report.error(Draft::new(min, format!("{who}: `min` {least} is above `max` {largest}")));
        return None;
    }
    if constraints.not_zero && only_zero(&spelled, &constraints) {
        let message = format!("{who}: `not_zero`, `min` and `max` exclude every value");
        report.error(Draft::new(field.name_span, message));
        return None;
    }
    let ty = match spelled {
        Spelled::Whole(ty) => ty,
        open => {
            let Some(slots) = constraints.max_length.or_else(|| open.default_slots()) else {
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
        Type::FixedStr { slots } | Type::FixedVec { slots, .. } => constraints.max_length.unwrap_or(slots),
        _ => u16::MAX,
    };
    if let Some(least) = constraints.min_length
        && least > most
    {
        let message = format!("{who}: `min_length` {least} is above the {most} that fit");
        report.error(Draft::new(min_length, message));
        return None;
    }
    Some((ty, constraints))
}

struct Checks<'c> {
    spelled: &'c Spelled,
    who: &'c str,
    constraints: Constraints,
    sound: bool,
}

impl Checks<'_> {
    /// Reads one constraint; `None` if it is wrong.
    fn take(&mut self, report: &mut Report<'_>, key: &str, key_span: Span, value: &Node<'_>) -> Option<()> {
        let what = format!("{}: `{key}`", self.who);
        match key {
            "not_empty" | "min_length" | "max_length" if self.slots().is_none() => {
                report.error(Draft::new(key_span, format!("{what} applies to text and lists only")));
                return None;
            }
            "not_zero" if !self.can_be_zero() => {
                let draft = Draft::new(key_span, format!("{what} applies to numbers and arrays only"));
                let help = self.slots().is_some().then(|| "did you mean `not_empty`?".to_owned());
                report.error(draft.help(help));
                return None;
            }
            "not_empty" => self.constraints.not_empty = truth(report, value, &what)?,
            "not_zero" => self.constraints.not_zero = truth(report, value, &what)?,
            "min_length" => self.constraints.min_length = Some(integer(report, value, &what, 0, u16::MAX)?),
            "max_length" => {
                let most = self.slots().unwrap_or(u16::MAX);
                self.constraints.max_length = Some(integer(report, value, &what, 1, most)?);
            }
            "min" => self.constraints.min = Some(self.bound(report, key_span, value, &what)?),
            "max" => self.constraints.max = Some(self.bound(report, key_span, value, &what)?),
            _ => {
                if report.wants_warnings()
                    && let Some(meant) = meant(key)
                {
                    let draft = Draft::new(key_span, format!("{}: {} is not checked", self.who, shown(key)));
                    report.warning(draft.help(Some(format!("did you mean `{meant}`?"))));
                }
                let written = report.text().get(value.span.start..value.span.end).unwrap_or_default();
                self.constraints.other.push((key.to_owned(), written.trim().to_owned()));
            }
        }
        Some(())
    }

    /// The largest `max_length`; `None` if the type has no length.
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

    /// A bound, which must be a value of the field's type.
    fn bound(&self, report: &mut Report<'_>, key_span: Span, value: &Node<'_>, what: &str) -> Option<Bound> {
        if let Some((least, largest)) = range(self.spelled) {
            return integer(report, value, what, least, largest).map(Bound::Integer);
        }
        let (bound, expected) = match self.spelled {
            Spelled::Whole(Type::F32) => {
                (float(value).filter(|bound| (*bound as f32).is_finite()), "a number in the range of f32")
            }
            Spelled::Whole(Type::F64) => (float(value), "a finite number"),
            _ => {
                report.error(Draft::new(key_span, format!("{what} applies to numbers only")));
                return None;
            }
        };
        if bound.is_none() {
            report.error(fitting(value, what, expected));
        }
        bound.map(Bound::Float)
    }
}

/// The smallest and the largest bound of an integer; `None` for other types.
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

/// Whether 0 is the only value within the bounds.
fn only_zero(spelled: &Spelled, constraints: &Constraints) -> bool {
    let Some((least, _)) = range(spelled) else { return false };
    constraints.max == Some(Bound::Integer(0))
        && constraints.min.unwrap_or(Bound::Integer(least)) == Bound::Integer(0)
}

/// The key of ours that was meant: `max_length` for `maxItems`.
fn meant(key: &str) -> Option<&'static str> {
    let letters = key.bytes().filter(|byte| !matches!(byte, b'_' | b'-'));
    let letters: Vec<u8> = letters.map(|byte| byte.to_ascii_lowercase()).collect();
    let other = OTHERS.iter().find(|(other, _)| other.as_bytes() == letters);
    other.map(|&(_, ours)| ours).or_else(|| nearest(key, KEYS.iter().copied()))
}

fn float(node: &Node<'_>) -> Option<f64> {
    let Value::Scalar { text, plain: true } = &node.value else { return None };
    // Rust would also take its own spellings of infinity and NaN, which YAML does not have.
    let is_number = text.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | '-' | '+' | 'e' | 'E'));
    let value = text.parse().ok().filter(|value: &f64| is_number && value.is_finite());
    value.or_else(|| number(node).map(|whole| whole as f64))
}
