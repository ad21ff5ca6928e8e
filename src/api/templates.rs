//! Service templates: rendered, and turned into services.

use super::Problem;
use super::auth::Access;
use super::body::Body;
use super::route::Route;
use crate::domain::template::{self, Missing, Values};
use crate::spec;
use axum::Json;
use axum::http::{Method, StatusCode};
use axum::routing::post;
use schemars::JsonSchema;
use serde::Deserialize;

/// Name of a template in its problems: it came in a request.
const SOURCE: &str = "template";

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::new(
            Method::POST,
            "/templates/render",
            "render_template",
            "Render a service template with values",
            Access::SignedIn,
            post(render),
        )
        .takes::<TemplateBody>(),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
struct TemplateBody {
    /// YAML text.
    template: String,
    #[serde(default)]
    values: Values,
}

async fn render(Body(body): Body<TemplateBody>) -> Result<Json<spec::ServiceTemplate>, Problem> {
    let rendered = template::render(SOURCE, &body.template, &body.values, Missing::Empty);
    rendered.map(Json).map_err(|problems| refused(&problems))
}

/// Renders a template and turns it into a service.
pub(super) fn service(text: &str, values: &Values) -> Result<spec::Service, Problem> {
    template::render_service(SOURCE, text, values, Missing::Empty).map_err(|problems| refused(&problems))
}

fn refused(problems: &[spec::Problem]) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "spec-invalid", spec::summary(problems))
}
