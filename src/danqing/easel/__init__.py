"""The easel: from a Request to a Picture. Nothing is imported here, so that `import danqing` stays light."""
