"""What a person does with a project: segment it, export it, import into it, show it, check it."""
