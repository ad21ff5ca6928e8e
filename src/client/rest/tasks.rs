//! Scheduled tasks and their runs.

use super::{ProjectRest, Rest, RestError, Run, Task};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Which tasks to list.
#[derive(Debug, Clone, Default)]
pub struct TaskFilter {
    pub room_id: Option<String>,
    pub task_id: Option<String>,
    pub active: Option<bool>,
    pub filter: Option<String>,
}

impl ProjectRest {
    /// Makes a task in a room; answers its id.
    pub async fn create_task(&self, room: &str, spec: &Value) -> Result<String, RestError> {
        let segments = self.at(&["rooms", room, "scheduled-tasks"]);
        let mut answer = self.rest.post(&segments, &json!({"spec": spec})).await?;
        super::parse("scheduled task", answer["task_id"].take())
    }

    pub async fn tasks(&self, filter: &TaskFilter) -> Result<Vec<Task>, RestError> {
        let pairs = [
            ("room_id", filter.room_id.clone()),
            ("task_id", filter.task_id.clone()),
            ("active", filter.active.map(|active| active.to_string())),
            ("filter", filter.filter.clone()),
        ];
        let query: Vec<_> = pairs.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
        self.rest.pages(&self.at(&["scheduled-tasks"]), &query, "tasks").await
    }

    /// One task by its id.
    pub async fn task(&self, id: &str) -> Result<Option<Task>, RestError> {
        let filter = TaskFilter { task_id: Some(id.to_owned()), ..TaskFilter::default() };
        Ok(self.tasks(&filter).await?.into_iter().find(|task| task.id == id))
    }

    pub async fn update_task(&self, id: &str, spec: &Value) -> Result<(), RestError> {
        self.rest.put(&self.at(&["scheduled-tasks", id]), &json!({"spec": spec})).await.map(drop)
    }

    pub async fn delete_task(&self, id: &str) -> Result<(), RestError> {
        self.rest.delete(&self.at(&["scheduled-tasks", id])).await.map(drop)
    }

    /// Runs of a task, newest first.
    pub async fn task_runs(&self, id: &str, count: usize, offset: usize) -> Result<Vec<Run>, RestError> {
        let query = [("limit", count.to_string()), ("offset", offset.to_string())];
        let mut answer = self.rest.get(&self.at(&["scheduled-tasks", id, "runs"]), &query).await?;
        super::parse("runs", answer["runs"].take())
    }
}

impl Rest {
    /// Reads every page of a listing that counts by offset; `size_key` is the name of its page size.
    pub async fn offset_pages<T: DeserializeOwned>(
        &self,
        segments: &[&str],
        query: &[(&str, String)],
        field: &str,
        size_key: &str,
    ) -> Result<Vec<T>, RestError> {
        let asked = format!("GET /{}", segments.join("/"));
        let mut items: Vec<T> = Vec::new();
        for _ in 0..super::PAGES_MAX {
            let mut query = query.to_vec();
            query.push((size_key, super::PAGE_ITEMS.to_string()));
            query.push(("offset", items.len().to_string()));
            let mut answer = self.get(segments, &query).await?;
            let page: Vec<T> = super::parse(&asked, answer[field].take())?;
            let last = page.len() < super::PAGE_ITEMS;
            items.extend(page);
            if last {
                return Ok(items);
            }
        }
        Err(RestError::Endless { asked })
    }
}
