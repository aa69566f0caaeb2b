//! Values of fields that are left out, and whether a field may be.

pub(super) fn two() -> u32 {
    2
}

pub(super) fn is_two(norms: &u32) -> bool {
    *norms == 2
}

pub(super) fn yes() -> bool {
    true
}

pub(super) fn is_true(value: &bool) -> bool {
    *value
}

pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
