//! Requests that are sent as they were signed before.
//!
//! The SDK signs a request anew for each try, as of that moment. One that was signed before, with an end, is one that the store
//! refuses after that end, whenever it arrives.

use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::presigning::PresignedRequest;

/// How the headers begin that stores want to be signed. An address that is signed says all of them itself.
const SIGNED: &str = "x-amz-";

/// Puts a signature that was made before in the place of the one of the moment.
#[derive(Debug)]
pub(super) struct Presigned {
    uri: String,
}

impl Presigned {
    /// `request` is the same request, signed, and has no headers that are.
    pub(super) fn new(request: &PresignedRequest) -> Self {
        Self { uri: request.uri().to_owned() }
    }
}

impl Intercept for Presigned {
    fn name(&self) -> &'static str {
        "Presigned"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request_mut();
        request.set_uri(self.uri.as_str())?;
        let names = request.headers().iter().map(|(name, _)| name.to_owned());
        let signed: Vec<_> = names.filter(|name| name == "authorization" || name.starts_with(SIGNED)).collect();
        for name in signed {
            request.headers_mut().remove(&name);
        }
        Ok(())
    }
}
