//! The OTLP receiver over gRPC, on the same port as everything else. The participant token comes as metadata
//! `authorization: Bearer …`.

use super::auth::identify;
use super::otlp::{REQUEST_BYTES_MAX, session_of};
use super::{Api, Problem};
use crate::id::SessionId;
use crate::telemetry::otlp;
use axum::Router;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataMap;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

#[derive(Clone)]
struct Receiver {
    api: Api,
}

/// The three services.
pub fn router(api: &Api) -> Router {
    let receiver = Receiver { api: api.clone() };
    let most = usize::try_from(REQUEST_BYTES_MAX).unwrap_or(usize::MAX);
    let gzip = CompressionEncoding::Gzip;
    let traces =
        TraceServiceServer::new(receiver.clone()).accept_compressed(gzip).max_decoding_message_size(most);
    let metrics =
        MetricsServiceServer::new(receiver.clone()).accept_compressed(gzip).max_decoding_message_size(most);
    let logs = LogsServiceServer::new(receiver).accept_compressed(gzip).max_decoding_message_size(most);
    Routes::new(traces).add_service(metrics).add_service(logs).into_axum_router().reset_fallback()
}

impl Receiver {
    async fn session(&self, metadata: &MetadataMap) -> Result<SessionId, Status> {
        let header = metadata.get("authorization").and_then(|value| value.to_str().ok());
        let bearer = header.and_then(|header| header.strip_prefix("Bearer "));
        let caller =
            identify(&self.api.app, bearer).await.map_err(|p| status(&p, Status::unauthenticated))?;
        session_of(&self.api, &caller).map_err(|p| status(&p, Status::permission_denied))
    }
}

fn status(problem: &Problem, make: impl Fn(String) -> Status) -> Status {
    make(problem.message.clone())
}

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let session = self.session(request.metadata()).await?;
        let request = request.into_inner();
        self.api.telemetry.add(otlp::spans(session, &request));
        self.api.forward("traces", session, &request.encode_to_vec(), false);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Receiver {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let session = self.session(request.metadata()).await?;
        let request = request.into_inner();
        self.api.telemetry.add(otlp::metrics(session, &request));
        self.api.forward("metrics", session, &request.encode_to_vec(), false);
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl LogsService for Receiver {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let session = self.session(request.metadata()).await?;
        let request = request.into_inner();
        self.api.telemetry.add(otlp::logs(session, &request));
        self.api.forward("logs", session, &request.encode_to_vec(), false);
        Ok(Response::new(ExportLogsServiceResponse::default()))
    }
}
