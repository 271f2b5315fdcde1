//! A library without HTTP: the functions of it are there, and say so.

use std::ffi::{c_int, c_void};

use ::fanfare_hub::engine::Code;

use crate::abi::fanfare_str;
use crate::failure::Failure;
use crate::guard::call;
use crate::hub::{fanfare_hub, find};
use crate::status::{fanfare_error, fanfare_status};

macro_rules! unsupported {
    ($($name:ident($($argument:ident: $type:ty),*);)*) => { $(
        /// Always refused here: see the build with the feature `http`.
        ///
        /// # Safety
        /// `err` is NULL or as `fanfare_error` says.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(
            hub: *mut fanfare_hub,
            $($argument: $type,)*
            err: *mut fanfare_error,
        ) -> fanfare_status {
            $(let _ = $argument;)*
            let body = || {
                find(hub)?;
                Err(Failure::new(Code::Unsupported, concat!(stringify!($name), ": this libfanfare is built without HTTP")))
            };
            // SAFETY: by contract.
            unsafe { call(err, body) }
        }
    )* };
}

unsupported! {
    fanfare_adopt(fd: c_int, subscribe: *const c_void, options: *const c_void, stream: *mut u64);
    fanfare_close_stream(stream: u64);
    fanfare_open_stream(subscribe: *const c_void, stream: *mut u64);
    fanfare_revoke(client: fanfare_str);
    fanfare_accept(request: u64, grant: *const c_void);
    fanfare_reject(request: u64, status: u32, message: fanfare_str);
}
