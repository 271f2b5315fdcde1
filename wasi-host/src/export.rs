//! The exports that the hub calls, each with what it takes and gives. One that is held here has the type that it should.

use std::marker::PhantomData;

use wasmtime::Store;
use wasmtime::component::{ComponentExportIndex, ComponentNamedList, Func, Instance, Lift, Lower, TypedFunc};

use crate::contract::{
    EventIn, EventOut, ON_SUBSCRIBE, Outcome, SubscriberIn, TICK, TRANSFORM, TRANSFORM_BATCH, TRANSFORM_TYPE,
    WelcomeOut,
};
use crate::error::plain;
use crate::fault::{FaultKind, WasmFault};
use crate::host::State;

/// A function of the contract.
pub(crate) trait Signature {
    /// Its name.
    const NAME: &'static str;
    /// Its type as the contract writes it.
    const TYPE: &'static str;
    type Params<'a>: ComponentNamedList + Lower;
    type Answer: ComponentNamedList + Lift;
}

#[derive(Debug)]
pub(crate) enum Transform {}
#[derive(Debug)]
pub(crate) enum OnSubscribe {}
#[derive(Debug)]
pub(crate) enum Tick {}
#[derive(Debug)]
pub(crate) enum TransformBatch {}

impl Signature for Transform {
    const NAME: &'static str = TRANSFORM;
    const TYPE: &'static str = TRANSFORM_TYPE;
    type Params<'a> = (EventIn<'a>,);
    type Answer = (Outcome,);
}

impl Signature for OnSubscribe {
    const NAME: &'static str = ON_SUBSCRIBE;
    const TYPE: &'static str = "func(subscriber: subscriber) -> welcome";
    type Params<'a> = (SubscriberIn<'a>,);
    type Answer = (WelcomeOut,);
}

impl Signature for Tick {
    const NAME: &'static str = TICK;
    const TYPE: &'static str = "func() -> list<event>";
    type Params<'a> = ();
    type Answer = (Vec<EventOut>,);
}

impl Signature for TransformBatch {
    const NAME: &'static str = TRANSFORM_BATCH;
    const TYPE: &'static str = "func(events: list<event>) -> list<outcome>";
    type Params<'a> = (&'a [EventIn<'a>],);
    type Answer = (Vec<Outcome>,);
}

/// An export whose type has been checked.
#[derive(Debug)]
pub(crate) struct Export<S>(Func, PhantomData<fn() -> S>);

impl<S: Signature> Export<S> {
    /// Finds it in an instance and checks its type.
    pub(crate) fn find(
        instance: &Instance,
        store: &mut Store<State>,
        index: ComponentExportIndex,
    ) -> Result<Self, WasmFault> {
        let name = S::NAME;
        let wrong = |text: String| WasmFault::new(FaultKind::Answer, text);
        let func = instance
            .get_func(&mut *store, index)
            .ok_or_else(|| wrong(format!("its export \"{name}\" is no function")))?;
        func.typed::<S::Params<'_>, S::Answer>(&*store)
            .map_err(|error| wrong(format!("its export \"{name}\" is not {}: {}", S::TYPE, plain(&error))))?;
        Ok(Self(func, PhantomData))
    }

    /// Calls it in the store that it was found in.
    pub(crate) fn call(
        &self,
        store: &mut Store<State>,
        params: S::Params<'_>,
    ) -> wasmtime::Result<S::Answer> {
        #[expect(unsafe_code, reason = "the type has been checked once, not for each call")]
        // SAFETY: `find`, the one way to make an export, has checked this function against this type, up to the lifetime of
        // the parameters, which is no part of a component's type.
        let func = unsafe { TypedFunc::<S::Params<'_>, S::Answer>::new_unchecked(self.0) };
        func.call(store, params)
    }
}
