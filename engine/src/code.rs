//! Outcome codes: one frozen table for HTTP answers, the C ABI and the bindings.

use core::fmt;

macro_rules! codes {
    ($(#[doc = $doc:literal] $name:ident = $number:literal, $text:literal;)*) => {
        /// Why an operation was refused. Numbers and texts are frozen: a retired code is never given away again.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code { $(#[doc = $doc] $name,)* }

        impl Code {
            /// Every code, in numeric order (most negative last).
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];

            /// The stable number; always negative, so that it can share an `int32_t` with success.
            #[must_use]
            pub fn number(self) -> i32 {
                match self { $(Code::$name => $number,)* }
            }

            /// What it means, in a sentence.
            #[must_use]
            pub fn doc(self) -> &'static str {
                match self { $(Code::$name => $doc.trim_ascii(),)* }
            }

            /// The stable name, as in the JSON error `{"error":{"code":"..."}}`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$name => $text,)* }
            }
        }
    };
}

codes! {
    /// A topic name is empty, too long or holds a control character.
    InvalidTopic = -1, "invalid_topic";
    /// An event id is malformed, too long or reserved.
    InvalidId = -2, "invalid_id";
    /// An event type is empty, too long, reserved or holds a control character.
    InvalidEvent = -3, "invalid_event";
    /// Event data is not UTF-8.
    InvalidData = -4, "invalid_data";
    /// A retry time is not a number of milliseconds in range.
    InvalidRetry = -5, "invalid_retry";
    /// A client name is empty, too long or holds a control character.
    InvalidClient = -6, "invalid_client";
    /// A conflation key is empty, too long or holds a control character.
    InvalidKey = -7, "invalid_key";
    /// A parameter has a value that is not allowed.
    InvalidParameter = -8, "invalid_parameter";
    /// A parameter that does not exist.
    UnknownParameter = -9, "unknown_parameter";
    /// A request body that does not follow its format.
    InvalidBody = -10, "invalid_body";
    /// No or wrong credentials.
    Unauthorized = -11, "unauthorized";
    /// A browser page of an origin that is not allowed.
    ForbiddenOrigin = -12, "forbidden_origin";
    /// A Host name that this hub does not answer to.
    ForbiddenHost = -13, "forbidden_host";
    /// Nothing is served there.
    NotFound = -14, "not_found";
    /// The method does not exist for this path.
    MethodNotAllowed = -15, "method_not_allowed";
    /// The client does not accept an event stream.
    NotAcceptable = -16, "not_acceptable";
    /// The topic has been closed.
    TopicClosed = -17, "topic_closed";
    /// An event or body is larger than its limit.
    TooLarge = -18, "too_large";
    /// The request target is longer than its limit.
    UriTooLong = -19, "uri_too_long";
    /// A body of a type that is not taken here.
    UnsupportedMediaType = -20, "unsupported_media_type";
    /// A handler refused the event.
    HandlerRefused = -21, "handler_refused";
    /// A handler failed and its policy is to refuse.
    HandlerFailed = -22, "handler_failed";
    /// A publisher is above its rate.
    RateLimited = -23, "rate_limited";
    /// The request header is larger than its limit.
    HeaderTooLarge = -24, "header_too_large";
    /// The hub holds as many topics as it may.
    LimitTopics = -25, "limit_topics";
    /// The hub holds as many connections as it may.
    LimitConnections = -26, "limit_connections";
    /// The hub is stopping.
    Stopping = -27, "stopping";
    /// A fault of ours: please report it.
    Internal = -28, "internal";
    /// A configuration value is unusable.
    InvalidConfig = -29, "invalid_config";
    /// A handle, subscription or topic that does not exist any more.
    StaleHandle = -30, "stale_handle";
    /// What was asked is not possible with this socket, build or platform.
    Unsupported = -31, "unsupported";
    /// A pointer that must not be null is.
    NullPointer = -32, "null_pointer";
    /// The process was forked after the hub was started: the child has none of its threads.
    Forked = -33, "forked";
    /// The caller was built against another version of the ABI.
    AbiMismatch = -34, "abi_mismatch";
    /// A call that would wait for itself.
    Deadlock = -35, "deadlock";
    /// The hub could not start: an address is taken, a certificate does not load, a thread cannot be created.
    StartFailed = -36, "start_failed";
    /// The reader fell out of history.
    Lapped = -37, "lapped";
    /// A structure larger than this library knows, with something in the unknown part.
    TooNew = -38, "too_new";
    /// A panic was caught at the edge of the library: please report it.
    Panicked = -39, "panicked";
    /// The event could not be stored: the disk is full or failing. It may be tried again.
    NotStored = -40, "not_stored";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Code;

    #[test]
    fn numbers_and_names_are_unique_and_frozen_in_order() {
        for (i, code) in Code::ALL.iter().enumerate() {
            assert_eq!(code.number(), -(i as i32) - 1, "{code}");
            assert!(Code::ALL[..i].iter().all(|other| other.as_str() != code.as_str()), "{code}");
        }
    }
}
