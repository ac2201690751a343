//! Payloads of any message, made from its definition and not by its generated code.

use millpond::schema::{Bound, FieldDef, Layout, MessageDef, Type};

/// A valid payload whose values follow from the seed, which is repeated.
pub(crate) fn payload(message: &MessageDef, layout: Layout, seed: &[u8]) -> Vec<u8> {
    let mut random = seed.iter().copied().cycle();
    let laid_out = message.layout(layout);
    let mut payload = vec![0; laid_out.size];
    for (field, place) in message.fields.iter().zip(&laid_out.fields) {
        fill(field, &mut payload[place.offset..][..place.size], &mut random);
    }
    payload
}

fn fill(field: &FieldDef, bytes: &mut [u8], random: &mut impl Iterator<Item = u8>) {
    let constraints = &field.constraints;
    match &field.ty {
        Type::FixedStr { slots } => {
            let len = length(field, *slots, random);
            let mut text = String::new();
            while text.len() < len {
                // Of one to four bytes.
                let byte = u32::from(random.next().unwrap());
                let c = match byte {
                    0..0x80 => byte,
                    0x80..0xC0 => byte << 3,
                    0xC0..0xE0 => byte << 7,
                    _ => 0x1F600 + byte,
                };
                let c = char::from_u32(c).unwrap();
                let fits = text.len() + c.len_utf8() <= len;
                text.push(if fits { c } else { 'x' });
            }
            bytes[..2].copy_from_slice(&(len as u16).to_le_bytes());
            bytes[8..][..len].copy_from_slice(text.as_bytes());
        }
        Type::FixedVec { element, slots } => {
            let len = length(field, *slots, random);
            bytes[..2].copy_from_slice(&(len as u16).to_le_bytes());
            values(element, &mut bytes[8..][..len * element.size().unwrap()], random);
        }
        ty => {
            values(ty, bytes, random);
            let integer = |bound| if let Some(Bound::Integer(bound)) = bound { Some(bound) } else { None };
            if let Some(one) = integer(constraints.min).or(integer(constraints.max)) {
                let least = integer(constraints.min).unwrap_or(one.min(0));
                let most = integer(constraints.max).unwrap_or(one);
                let value = least + i128::from(bytes[0]) % (most - least + 1);
                let value = if value == 0 { most } else { value }.to_le_bytes();
                bytes.fill(0);
                let len = bytes.len().min(16);
                bytes[..len].copy_from_slice(&value[..len]);
            }
            let float = |bound| if let Some(Bound::Float(bound)) = bound { Some(bound) } else { None };
            if let Some(one) = float(constraints.min).or(float(constraints.max)) {
                let least = float(constraints.min).unwrap_or(one - 1.0);
                let value =
                    (least + f64::from(bytes[0]) / 1024.0).min(float(constraints.max).unwrap_or(f64::MAX));
                match ty {
                    Type::F32 => bytes.copy_from_slice(&(value as f32).to_le_bytes()),
                    _ => bytes.copy_from_slice(&value.to_le_bytes()),
                }
            }
            if constraints.not_zero && bytes.iter().all(|&byte| byte == 0) {
                bytes[0] = 1;
            }
        }
    }
}

fn length(field: &FieldDef, slots: u16, random: &mut impl Iterator<Item = u8>) -> usize {
    let constraints = &field.constraints;
    let least = constraints.min_length.unwrap_or(0).max(constraints.not_empty.into());
    let most = constraints.max_length.unwrap_or(slots);
    let any = u16::from_le_bytes([random.next().unwrap(), random.next().unwrap()]);
    (least + any % (most - least).saturating_add(1).max(1)).into()
}

fn values(ty: &Type, bytes: &mut [u8], random: &mut impl Iterator<Item = u8>) {
    for byte in bytes {
        *byte = random.next().unwrap() & if is_bool(ty) { 1 } else { 0xFF };
    }
}

fn is_bool(ty: &Type) -> bool {
    match ty {
        Type::Array(element, _) => is_bool(element),
        ty => *ty == Type::Bool,
    }
}
