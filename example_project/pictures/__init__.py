"""Pictures of the admin for the documentation, and the site that they show."""
