"""Who answers: the language model, where its weights come from, and the Recommender that holds it all."""
