// A file of its own, because the page's Content-Security-Policy allows no script within the page.
SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#page",
  deepLinking: true,
  filter: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  // A token stays in the page and goes with it: nothing of it is kept in the browser.
  persistAuthorization: false,
});
