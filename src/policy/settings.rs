//! The setters of configuration structs, the same in this layer and all above it: `Default`, and one method per field.

/// One setter per field, named after it.
macro_rules! setters {
    ($($field:ident: $type:ty,)+) => {$(
        #[doc = concat!("Sets [`", stringify!($field), "`](field@Self::", stringify!($field), ").")]
        #[must_use]
        pub fn $field(mut self, $field: $type) -> Self {
            self.$field = $field;
            self
        }
    )+};
}

pub(crate) use setters;
