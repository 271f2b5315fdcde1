//! The types of fields that options live in.

use core::net::SocketAddr;
use core::time::Duration;
use std::path::PathBuf;

use super::kind::Value;

/// A field type that an option can live in.
pub trait Setting: Sized {
    /// The field's value out of a parsed one; `None` when the type cannot hold it.
    fn from_value(value: Value) -> Option<Self>;
    /// The field's value for [`Kind::show`](super::Kind::show).
    fn to_value(&self) -> Value;
}

/// Implements [`Setting`] for a type that has `FromStr` and `Display`, to be used with [`Kind::Choice`](super::Kind::Choice).
#[macro_export]
macro_rules! setting_by_name {
    ($type:ty) => {
        impl $crate::options::Setting for $type {
            fn from_value(value: $crate::options::Value) -> Option<Self> {
                match value {
                    $crate::options::Value::Text(text) => text.parse().ok(),
                    _ => None,
                }
            }

            fn to_value(&self) -> $crate::options::Value {
                $crate::options::Value::Text(self.to_string())
            }
        }
    };
}

macro_rules! number_setting {
    ($($type:ty),+) => {$(
        impl Setting for $type {
            fn from_value(value: Value) -> Option<Self> {
                match value {
                    Value::Number(number) => Self::try_from(number).ok(),
                    _ => None,
                }
            }

            fn to_value(&self) -> Value {
                // No field type is wider than 64 bits, so this cannot lose anything.
                Value::Number(u64::try_from(*self).unwrap_or(u64::MAX))
            }
        }
    )+};
}
number_setting!(u8, u16, u32, u64, usize);

/// Of [`Kind::Duration`](super::Kind::Duration): whole milliseconds.
impl Setting for Duration {
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Number(milliseconds) => Some(Self::from_millis(milliseconds)),
            _ => None,
        }
    }

    fn to_value(&self) -> Value {
        Value::Number(u64::try_from(self.as_millis()).unwrap_or(u64::MAX))
    }
}

impl Setting for bool {
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Flag(flag) => Some(flag),
            _ => None,
        }
    }

    fn to_value(&self) -> Value {
        Value::Flag(*self)
    }
}

impl Setting for String {
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    fn to_value(&self) -> Value {
        Value::Text(self.clone())
    }
}

impl Setting for Option<PathBuf> {
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Text(text) if text.is_empty() => Some(None),
            Value::Text(text) => Some(Some(PathBuf::from(text))),
            _ => None,
        }
    }

    fn to_value(&self) -> Value {
        Value::Text(self.as_ref().map(|path| path.to_string_lossy().into_owned()).unwrap_or_default())
    }
}

impl Setting for Vec<String> {
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    fn to_value(&self) -> Value {
        Value::List(self.clone())
    }
}

impl Setting for Vec<SocketAddr> {
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Addresses(items) => Some(items),
            _ => None,
        }
    }

    fn to_value(&self) -> Value {
        Value::Addresses(self.clone())
    }
}
