//! Fields: what is written is read, and no bytes make a reader panic.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use super::put::{put, put_array, put_list, put_text};
use super::take::Fields;
use super::wire::{Wire, saturating_u128};
use crate::frame::MessageError;

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

#[test]
fn what_does_not_fit_is_left_out() {
    let text = written(|out| put_text::<4>(out, "aéé"));
    assert_eq!(text, [&[3, 0, 0, 0, 0, 0, 0, 0, b'a'], "é".as_bytes(), &[0]].concat());
    assert_eq!(written(|out| put_list::<u16, 2>(out, &[1, 2, 3])), [2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 0]);
    assert_eq!(written(|out| put_array::<u16, 2>(out, &[1, 2, 3])), [1, 0, 2, 0]);
    assert_eq!(written(|out| put_array::<[u8; 2], 3>(out, &[[1, 2]])), [1, 2, 0, 0, 0, 0]);
    // More than a count can hold.
    let bytes = written(|out| put_list::<u8, 70_000>(out, &[7; 70_000]));
    assert_eq!((bytes.len(), &bytes[..2]), (70_008, [0xFF, 0xFF].as_slice()));
}

#[test]
fn a_field_beyond_the_payload_is_an_error() {
    let payload = [0; 7];
    let fields = || Fields::of(&payload, 7).unwrap();
    let error = MessageError::Field { field: "f", offset: 0 };
    assert_eq!(fields().value::<u64>("f"), Err(error));
    assert_eq!(fields().bytes::<[u8; 8]>("f"), Err(error));
    assert_eq!(fields().text::<1>("f"), Err(error));
    assert_eq!(fields().bytes_list::<u8, 1>("f"), Err(error));
    assert_eq!(fields().list::<u8, 1>("f").err(), Some(error));
    assert_eq!(fields().array::<u32, 2>("f").err(), Some(error));
    assert_eq!(fields().padding(8).err(), Some(MessageError::Padding { offset: 0 }));
    let mut fields = fields();
    assert_eq!(fields.value("a"), Ok([0_u8; 3]));
    assert_eq!(fields.value::<u64>("b"), Err(MessageError::Field { field: "b", offset: 3 }));
}

#[test]
fn values_are_read_as_they_are_written() {
    fn check<T: Wire + PartialEq + core::fmt::Debug>(value: T) {
        let bytes = written(|out| put(out, &value));
        assert_eq!(bytes.len(), T::SIZE);
        assert_eq!(T::read(&bytes), Some(value));
        assert_eq!(T::read(&bytes[1..]), None);
        assert!(T::is_valid(&bytes) && !T::is_valid(&bytes[1..]));
        assert_eq!(T::read(&vec![0; T::SIZE]), Some(T::ZERO));
        assert!(T::ZERO.is_zero() && !value.is_zero());
    }
    check(1_u8);
    check(0x0201_u16);
    check(u32::MAX);
    check(u64::MAX);
    check(u128::MAX);
    check(-1_i8);
    check(i16::MIN);
    check(i32::MIN);
    check(i64::MIN);
    check(i128::MIN);
    check(-0.0_f32);
    check(f64::MAX);
    check(true);
    check([[1.5_f32, 0.0], [0.0, 0.0]]);
    check([[1_u8, 2, 3], [4, 5, 6]]);
    assert_eq!(<[bool; 2]>::read(&[1, 2]), None);
}

#[test]
fn a_list_is_decoded_when_it_is_read() {
    let bytes = written(|out| put_list::<_, 4>(out, &[[1_u16, 2], [3, 4]]));
    let list = Fields::of(&bytes, bytes.len()).unwrap().list::<[u16; 2], 4>("list").unwrap();
    assert_eq!((list.len(), list.is_empty(), list.get(1), list.get(2)), (2, false, Some([3, 4]), None));
    assert!(list == *[[1, 2], [3, 4]].as_slice() && list.iter().len() == 2);
    assert_eq!(format!("{list:?}"), "[[1, 2], [3, 4]]");
}

#[test]
fn a_number_of_256_bits_saturates() {
    let mut value = [0; 32];
    value[..16].fill(0xFF);
    value[0] = 1;
    assert_eq!(saturating_u128(&value), u128::MAX - 0xFE);
    value[16] = 1;
    assert_eq!(saturating_u128(&value), u128::MAX);
}
