//! How the contract's values look in JSON and its like: names where they have one, else numbers.

use core::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::adapter::{AdapterId, AdapterName};
use super::irql::Irql;
use super::status::Status;
use super::tag::PoolTag;
use super::verify::stack::CallStack;

impl PoolTag {
    /// Whether its text, without the spaces at the end that stand for zeros, makes the same tag again.
    fn is_text(self) -> Option<([u8; 4], usize)> {
        let bytes = self.bytes();
        let len = bytes.iter().position(|&byte| byte == 0).unwrap_or(4);
        let text = core::str::from_utf8(bytes.get(..len)?).ok()?;
        (PoolTag::new(text) == Ok(self)).then_some((bytes, len))
    }
}

/// A text of up to four characters, or the number of a tag that is none.
impl Serialize for PoolTag {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.is_text() {
            Some((bytes, len)) => to.serialize_str(core::str::from_utf8(&bytes[..len]).unwrap_or_default()),
            None => to.serialize_u32(self.raw()),
        }
    }
}

/// A value that is a text or a number.
trait TextOrNumber: Sized {
    const EXPECTED: &'static str;
    fn of_text(text: &str) -> Option<Self>;
    fn of_number(number: u64) -> Option<Self>;
}

struct Either<T>(core::marker::PhantomData<T>);

impl<T: TextOrNumber> Visitor<'_> for Either<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        T::of_text(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        T::of_number(number).ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(number), &self))
    }
}

impl TextOrNumber for PoolTag {
    const EXPECTED: &'static str = "a tag of one to four printable characters, or its number";

    fn of_text(text: &str) -> Option<PoolTag> {
        PoolTag::new(text).ok()
    }

    fn of_number(number: u64) -> Option<PoolTag> {
        u32::try_from(number).ok().map(PoolTag::from_raw)
    }
}

impl TextOrNumber for Status {
    const EXPECTED: &'static str = "a status's name, as STOR_STATUS_SUCCESS, or its number";

    fn of_text(text: &str) -> Option<Status> {
        Status::named(text)
    }

    fn of_number(number: u64) -> Option<Status> {
        u32::try_from(number).ok().map(Status::from_code)
    }
}

macro_rules! deserialize {
    ($($name:ty),*) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<$name, D::Error> {
                from.deserialize_any(Either(core::marker::PhantomData))
            }
        }
    )*};
}

deserialize!(PoolTag, Status);

/// Its name, or the number of one that has none.
impl Serialize for Status {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.name() {
            Some(name) => to.serialize_str(name),
            None => to.serialize_u32(self.code()),
        }
    }
}

/// Its number, 0 to 15.
impl Serialize for Irql {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u8(self.level())
    }
}

impl<'de> Deserialize<'de> for Irql {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Irql, D::Error> {
        let level = u8::deserialize(from)?;
        Irql::new(level).ok_or_else(|| {
            de::Error::invalid_value(de::Unexpected::Unsigned(level.into()), &"an IRQL, 0 to 15")
        })
    }
}

/// Its number. It is a handle of the same pool's alone.
impl Serialize for AdapterId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u32(self.raw())
    }
}

impl<'de> Deserialize<'de> for AdapterId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<AdapterId, D::Error> {
        u32::deserialize(from).map(AdapterId::from_raw)
    }
}

impl Serialize for AdapterName {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

/// What kind it is, and its frames.
impl Serialize for CallStack {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut stack = to.serialize_struct("CallStack", 3)?;
        stack.serialize_field("kind", &self.kind())?;
        stack.serialize_field("at_fault", &self.is_at_fault())?;
        stack.serialize_field("frames", self.frames())?;
        stack.end()
    }
}
